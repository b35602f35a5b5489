"""Evaluate: one pool, one window of demand, one scale decision.

The window ends with the newest tick on the topic, so no clock is shared with its writer.  What
ClickHouse said is used unless its newest tick is older than the topic's by more than ``stale_ms``
(history lags) or nothing was said; then the topic's ticks stand in, and the decision says so.
Pure: asking is the service's part.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.pools import Pool
from schemas.scaling import DemandSource, ScaleDecision
from schemas.units import PPM, US_PER_MS, US_PER_S, Resources
from streams.autoscaler.window import Seen, Window
from streams.core.scaling import Memory, Needed, Order, decide, measured, needed
from streams.history.demand import Demand


@dataclass(frozen=True, kw_only=True)
class Span:
    """The window to look at, ``[start_us, end_us)``, and which quantile of it."""

    start_us: int
    end_us: int
    quantile_ppm: int


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What an evaluation looked at."""

    demand: dict[str, Resources]
    source: DemandSource
    span: Span
    ticks_seen: int
    problem: str = ""
    """Why the topic stood in."""


def span_of(pool: Pool, newest: Seen) -> Span:
    """Return the pool's scaling window, which ends with its newest tick."""
    return Span(
        start_us=newest.at_us + 1 - pool.scaling.window_seconds * US_PER_S,
        end_us=newest.at_us + 1,
        quantile_ppm=int(pool.scaling.quantile * PPM),
    )


def look(span: Span, window: Window, answer: Demand | str, *, stale_ms: int) -> Looked:
    """Return ClickHouse's answer, or the topic's where that is none (text: why) or too old."""
    if isinstance(answer, str):
        return _look_at_ticks(span, window, problem=answer)
    if answer.newest_us < span.end_us - 1 - stale_ms * US_PER_MS:
        problem = "ClickHouse has no recent tick: history lags"
        return _look_at_ticks(span, window, problem=problem)
    return Looked(
        demand=answer.by_entitlement,
        source=DemandSource.CLICKHOUSE,
        span=span,
        ticks_seen=answer.ticks_seen,
    )


def _look_at_ticks(span: Span, window: Window, *, problem: str) -> Looked:
    demand, ticks_seen = window.demand(
        start_us=span.start_us, end_us=span.end_us, quantile_ppm=span.quantile_ppm
    )
    return Looked(
        demand=demand,
        source=DemandSource.TICKS,
        span=span,
        ticks_seen=ticks_seen,
        problem=problem,
    )


def evaluate(
    pool: Pool, seen: Seen, looked: Looked, memory: Memory, *, now_us: int, id: str
) -> tuple[ScaleDecision, Memory]:
    """Return the decision on a pool, and the memory for its next evaluation."""
    need = needed(pool, looked.demand, per_replica=seen.per_replica)
    current = seen.ready + seen.starting
    order, memory = decide(memory, need, pool=pool, current=current, at_us=now_us)
    return _decision(pool, seen, looked, need, order, now_us=now_us, id=id), memory


def _decision(
    pool: Pool,
    seen: Seen,
    looked: Looked,
    need: Needed,
    order: Order,
    *,
    now_us: int,
    id: str,
) -> ScaleDecision:
    return ScaleDecision(
        id=id,
        pool=pool.name,
        at_us=now_us,
        direction=order.direction,
        current=seen.ready + seen.starting,
        ready=seen.ready,
        starting=seen.starting,
        desired=order.desired,
        raw_desired=need.replicas,
        reason=order.reason,
        dimension=need.dimension.value,
        demand=need.demand,
        floors=need.floors,
        per_replica=measured(seen.per_replica, spec=pool.per_replica),
        source=looked.source,
        window_start_us=looked.span.start_us,
        window_end_us=looked.span.end_us,
        quantile_ppm=looked.span.quantile_ppm,
        ticks_seen=looked.ticks_seen,
        spec_version=pool.version,
    )
