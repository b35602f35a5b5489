"""Pool capacity: replicas as somebody in charge sees them, on the topic ``pool-capacity``.

Compacted by (pool, writer).  The highest rank whose record has not expired wins; an expiry is
counted from the broker's timestamp of the record.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from schemas.units import NOTHING, Resources


class WriterRank(IntEnum):
    """Who is believed first (the highest)."""

    UP = 10
    """``tokenpools up`` with ``replicas.min``."""
    OPERATOR = 20
    """``tokenpools capacity POOL --ready N``."""
    REPLAYER = 30
    CONTROLLER = 40


class PoolCapacity(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas of one pool, as one writer reports them."""

    pool: str
    writer: str
    rank: int
    ready: int
    starting: int = 0
    draining: int = 0
    per_replica: Resources = NOTHING
    """Measured capacity of one replica; nothing: the spec's."""
    at_us: int = 0
    ttl_ms: int = 0
    """0: until it is replaced."""


def capacity_key(pool: str, writer: str) -> bytes:
    """Return the compaction key."""
    return f"{pool}|{writer}".encode()
