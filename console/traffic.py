"""Which requests does a replay send, and to whom?  A trace file or a named, seeded workload.

``traffic_of`` turns the options of ``run`` and ``replay`` into arrivals whose number and span are
known, and a sentence that says how tenants map to entitlements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from console.poolsfile import ReplaySection
from console.replay.plan import ReplayLimits, ReplayPlan, ReplicaChange
from schemas.errors import SettingsError
from schemas.pools import Pool
from schemas.units import PPM, US_PER_S
from simulation.arrivals import Arrival
from simulation.catalog import WORKLOADS
from simulation.traces.reading import TraceFacts, read_trace, survey
from simulation.traces.rows import BadRow
from simulation.workloads import generate

BAD_ROWS_NAMED_MAX: Final = 20
"""Bad rows that are named singly; the others are counted."""

SPEED_MAX: Final = Decimal(1_000)
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """What the user asked for."""

    trace: Path | None = None
    workload: str = ""
    seed: int = 1
    speed: str = "1"
    scale_capacity: bool = False
    limit_s: int | None = None
    """Stop after this long in the traffic's own time."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Arrivals that can be drawn more than once, and what is known of them."""

    about: str
    arrivals: Callable[[], Iterable[Arrival]]
    rows: int
    span_us: int
    speed_ppm: int
    scale_capacity: bool
    bad_rows: int = 0
    """Rows of the trace that are skipped; requests that failed when recorded are not among them."""


def traffic_of(options: TrafficOptions, *, default_workload: str, say: Say) -> Traffic:
    """Return the traffic; raise ``SettingsError`` when the options contradict each other."""
    if options.trace is not None and options.workload:
        raise SettingsError("--trace and --workload exclude each other")
    if options.trace is not None:
        return _of_trace(options, options.trace, say=say)
    return _of_workload(options, options.workload or default_workload)


def survey_said(path: Path, *, limit_s: int | None, say: Say) -> TraceFacts:
    """Return what a trace has before the limit, after saying it and naming its first bad rows."""
    named = _NamedRows(path, say)
    limit_us = None if limit_s is None else limit_s * US_PER_S
    facts = survey(path, limit_us=limit_us, on_bad_row=named.take)
    say(_about(path, facts))
    return facts


def _of_trace(options: TrafficOptions, path: Path, *, say: Say) -> Traffic:
    limit_us = None if options.limit_s is None else options.limit_s * US_PER_S
    facts = survey(path, limit_us=limit_us)

    def arrivals() -> Iterable[Arrival]:
        named = _NamedRows(path, say)
        return _until(read_trace(path, on_bad_row=named.take), options.limit_s)

    return Traffic(
        about=_about(path, facts),
        arrivals=arrivals,
        rows=facts.rows,
        span_us=_span(facts.span_us, options.limit_s),
        speed_ppm=speed_ppm(options.speed),
        scale_capacity=options.scale_capacity,
        bad_rows=facts.bad_rows,
    )


def _about(path: Path, facts: TraceFacts) -> str:
    return (
        f"trace {path.name} ({facts.format}): {facts.rows} requests over "
        f"{facts.span_us // US_PER_S} s"
        + (f", {facts.bad_rows} bad rows" if facts.bad_rows else "")
        + (f", {facts.failed_rows} recorded failures left out" if facts.failed_rows else "")
    )


class _NamedRows:
    """Says the first bad rows of one reading with their lines."""

    def __init__(self, path: Path, say: Say) -> None:
        self._path = path
        self._say = say
        self._named = 0

    def take(self, row: BadRow) -> None:
        """Say it, unless it is a recorded failure or enough were said."""
        if row.failed or self._named >= BAD_ROWS_NAMED_MAX:
            return
        self._named += 1
        self._say(f"{self._path}:{row.line}: {row.reason} (row skipped)")


def _of_workload(options: TrafficOptions, name: str) -> Traffic:
    workload = WORKLOADS.get(name)
    if workload is None:
        raise SettingsError(f"--workload {name!r}: known are {', '.join(WORKLOADS)}")

    def arrivals() -> Iterable[Arrival]:
        return _until(generate(workload, seed=options.seed), options.limit_s)

    rows = sum(1 for _ in arrivals())
    return Traffic(
        about=f"workload {name} (seed {options.seed}): {workload.about}",
        arrivals=arrivals,
        rows=rows,
        span_us=_span(workload.duration_s * US_PER_S, options.limit_s),
        speed_ppm=speed_ppm(options.speed),
        scale_capacity=options.scale_capacity,
    )


def speed_ppm(text: str) -> int:
    """Return a speed factor in ppm; the error names the option."""
    try:
        speed = Decimal(text)
    except InvalidOperation:
        speed = Decimal(0)
    if not speed.is_finite() or not 0 < speed <= SPEED_MAX:
        raise SettingsError(f"--speed {text!r} must be a number above 0 and at most {SPEED_MAX}")
    return int(speed * PPM)


def plan_of(
    traffic: Traffic,
    replay: ReplaySection,
    pools: Sequence[Pool],
    *,
    run_id: str,
    record_path: Path,
    admission: bool = True,
    replica_schedule: Sequence[ReplicaChange] = (),
) -> ReplayPlan:
    """Return what the replayer is told."""
    return ReplayPlan(
        run_id=run_id,
        pools=tuple(pools),
        arrivals=traffic.arrivals,
        rows=traffic.rows,
        span_us=traffic.span_us,
        mapping=replay.mapping.tenants,
        record_path=record_path,
        speed_ppm=traffic.speed_ppm,
        scale_capacity=traffic.scale_capacity,
        admission=admission,
        replica_schedule=tuple(replica_schedule),
        start_delay_ms=replay.engine.start_delay_ms,
        prefill_us=replay.engine.prefill_ms * 1_000,
        demotion=frozenset(replay.clients.demotion),
        limits=ReplayLimits(
            retries_max=replay.clients.retries_max,
            retry_wait_ms_max=replay.clients.retry_wait_ms_max,
            in_flight_max=replay.clients.in_flight_max,
        ),
    )


def _until(arrivals: Iterable[Arrival], limit_s: int | None) -> Iterable[Arrival]:
    for arrival in arrivals:
        if limit_s is not None and arrival.offset_us >= limit_s * US_PER_S:
            return
        yield arrival


def _span(span_us: int, limit_s: int | None) -> int:
    return span_us if limit_s is None else min(span_us, limit_s * US_PER_S)
