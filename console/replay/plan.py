"""Plan: what a replay is told before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.pools import Pool
from schemas.units import PPM, Resources
from simulation.arrivals import Arrival
from simulation.mapping import TenantMapping

MAX_TOKENS_MIN: Final = 64


@dataclass(frozen=True, kw_only=True)
class ReplayLimits:
    """The simulated clients' manners, and every bound of the replayer."""

    retries_max: int = 4
    """How often a refused request comes back before it counts as lost."""
    retry_wait_ms_max: int = 10_000
    """A client that is told to wait longer gives up."""
    in_flight_max: int = 4_000
    """Requests at once, waiting ones included; what arrives beyond is not sent, and counted."""
    drain_ms_max: int = 20_000
    """How long the end of a replay waits for requests that still run."""
    capacity_ttl_ms: int = 10_000
    """How long a capacity record holds; it is renewed three times in that time."""
    control_ms: int = 200
    """How often starting and draining replicas are looked at."""


@dataclass(frozen=True, kw_only=True)
class ReplicaChange:
    """A pool served with this many replicas from this offset on."""

    offset_us: int
    """From the start of the replay, in wall time."""
    pool: str
    ready: int


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """One replay."""

    run_id: str
    """In the source of every event and the name of the record."""
    pools: tuple[Pool, ...]
    arrivals: Callable[[], Iterable[Arrival]]
    """Called once; in order of offset."""
    rows: int | None = None
    """How many arrivals there will be, where that is known."""
    span_us: int | None = None
    """Offset of the last one."""
    mapping: TenantMapping
    record_path: Path
    speed_ppm: int = PPM
    """2,000,000: offsets pass twice as fast, so the load doubles."""
    scale_capacity: bool = False
    """Multiply every replica's capacity by the speed as well."""
    admission: bool = True
    """False: everything goes straight to the engine, and nothing is emitted."""
    replica_schedule: tuple[ReplicaChange, ...] = ()
    """Without admission: the replicas of another run, for a fair comparison."""
    start_delay_ms: int = 4_000
    """From a scale decision until the replica is ready."""
    prefill_us: int = 200_000
    demotion: frozenset[str] = frozenset()
    """Entitlements whose callers take service as spot beyond their own limit."""
    limits: ReplayLimits = ReplayLimits()

    def per_replica(self, pool: Pool) -> Resources:
        """Return what one replica of the pool gives in this replay, rounded down."""
        if not self.scale_capacity:
            return pool.per_replica
        scaled = pool.per_replica
        return Resources(
            scaled.tokens_per_s * self.speed_ppm // PPM,
            scaled.kv_bytes * self.speed_ppm // PPM,
            scaled.slots * self.speed_ppm // PPM,
        )

    def wall_offset_us(self, offset_us: int) -> int:
        """Return when, after the start, an arrival of this offset is due."""
        return offset_us * PPM // self.speed_ppm


def max_tokens_for(output_tokens: int) -> int:
    """Return the ``max_tokens`` that a simulated client asks for.

    It knows its answer's length roughly: the next power of two, at least 64.
    """
    return max(MAX_TOKENS_MIN, 1 << max(0, output_tokens - 1).bit_length())
