"""Scale decisions: how many replicas a pool should have, on the compacted ``scale-decisions``.

They say what they looked at: the window, the quantile and the source of the demand.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.units import NOTHING, Resources


class DemandSource(StrEnum):
    """Where the demand was read."""

    CLICKHOUSE = "clickhouse"
    TICKS = "ticks"
    """The topic ``ticks``, while ClickHouse is away."""


class ScaleDirection(StrEnum):
    """What the decision asks for."""

    UP = "up"
    DOWN = "down"
    HOLD = "hold"


class ScaleDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of one pool (key: pool)."""

    id: str
    pool: str
    at_us: int
    direction: ScaleDirection
    current: int
    """Ready and starting replicas."""
    ready: int
    starting: int
    desired: int
    raw_desired: int
    """Before stabilisation, step, cooldown and the spec's bounds."""
    reason: str
    """Which rule decided, for a person."""
    dimension: str = ""
    """The dimension that asked for most replicas."""
    demand: Resources = NOTHING
    floors: Resources = NOTHING
    per_replica: Resources = NOTHING
    source: DemandSource = DemandSource.CLICKHOUSE
    window_start_us: int = 0
    window_end_us: int = 0
    quantile_ppm: int = 0
    ticks_seen: int = 0
    spec_version: int = 0
