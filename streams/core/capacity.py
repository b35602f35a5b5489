"""Capacity: how much of the pool is live right now, and who says so?

The records of ``pool-capacity`` are the only source; the highest rank that has not expired wins.
Expiries are counted from the broker's timestamp of the record, in the reader's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.capacity import PoolCapacity
from schemas.pools import Pool
from schemas.units import NOTHING, US_PER_MS, Resources

SPEC_WRITER = "spec"
"""Named as the writer while nobody has reported: ``replicas.min`` is assumed."""


@dataclass(frozen=True)
class LiveCapacity:
    """Replicas of one pool, and what one of them carries."""

    writer: str
    ready: int
    starting: int
    draining: int
    per_replica: Resources

    @property
    def total(self) -> Resources:
        """What the ready replicas carry together; starting and draining ones carry nothing."""
        return self.per_replica.times(self.ready)


def winner(records: Sequence[tuple[PoolCapacity, int]], *, now_us: int, pool: Pool) -> LiveCapacity:
    """Return the capacity to believe; ``records`` are pairs of record and broker timestamp in ms.

    Of equal ranks the one stored last wins, then the greater writer's name.
    """
    believed = max(
        (pair for pair in records if not _expired(pair, now_us=now_us)),
        key=lambda pair: (pair[0].rank, pair[1], pair[0].writer),
        default=None,
    )
    if believed is None:
        return LiveCapacity(SPEC_WRITER, pool.replicas_min, 0, 0, pool.per_replica)
    record = believed[0]
    measured = record.per_replica != NOTHING
    return LiveCapacity(
        writer=record.writer,
        ready=record.ready,
        starting=record.starting,
        draining=record.draining,
        per_replica=record.per_replica if measured else pool.per_replica,
    )


def _expired(pair: tuple[PoolCapacity, int], *, now_us: int) -> bool:
    record, stored_ms = pair
    return record.ttl_ms > 0 and (stored_ms + record.ttl_ms) * US_PER_MS <= now_us
