"""The ledger: totals, minutes, marks and counts of one partition of ``usage``, as a pure fold.

``fold`` reads records in the order of the partition and returns what they change.  Positions make
a replay a no-op: events at or below the position that the partition had when the fold began change
nothing, so folding the same records twice equals folding them once, whatever the boundaries between
batches.  Accepted, duplicate, late, dead and forwarded events add up to the events read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.ledger import (
    Mark,
    MarksEntry,
    MinuteEntry,
    PartitionEntry,
    TotalsEntry,
    WindowTotals,
)
from schemas.pools import Pool
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.units import US_PER_S
from schemas.usage import UsageEvent, decode_record
from schemas.verdicts import JudgedThrough, Verdict, VerdictCounts, VerdictKind
from streams.core.judge import (
    NAME_CHARS_MAX,
    NOTHING_BOUND,
    Bench,
    Bound,
    Record,
    Ruling,
    Specs,
    judge,
)
from streams.core.letters import Letters
from streams.core.marks import Known, floor_above, new_mark
from streams.core.outcome import (
    EntitlementKey,
    Forward,
    Increment,
    Outcome,
    Place,
    States,
)
from streams.core.windows import (
    MinuteKey,
    increment_of,
    is_open,
    lateness_of,
    latest_orders,
    minute_of,
    order_of,
    rollup_of,
    with_event,
)

MARKS_MAX_DEFAULT: Final = 200_000
"""Marks kept per partition; beyond it the acceptance horizon shrinks, audibly."""

HORIZON_DEFAULT_US: Final = 86_700 * US_PER_S
"""For how long marks are kept where no pool says more (24 h and 5 min of clock error)."""


@dataclass
class _Work:
    """A fold under way."""

    bench: Bench
    states: States
    known: Mapping[str, Known]
    totals: dict[EntitlementKey, TotalsEntry] = field(default_factory=dict)
    minutes: dict[MinuteKey, MinuteEntry] = field(default_factory=dict)
    fresh: dict[str, Known] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    orders: list[Rollup] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    increments: list[Increment] = field(default_factory=list)
    counts: dict[VerdictKind, int] = field(default_factory=dict)
    event_us_max: int = 0
    skipped: int = 0
    last: Position | None = None
    last_stored_us: int = 0


def fold(
    states: States,
    records: Sequence[Record],
    *,
    specs: Specs,
    place: Place,
    bound: Bound = NOTHING_BOUND,
    marks_max: int = MARKS_MAX_DEFAULT,
) -> Outcome:
    """Return what the records change; ``states`` is only read."""
    dropped, by_budget = _to_drop(states, records, specs=specs, marks_max=marks_max)
    floor_us = max(
        0 if states.partition is None else states.partition.floor_us,
        floor_above(states.marks.blocks[:dropped]),
    )
    bench = Bench(specs, place.epoch, place.partition, place.partitions, floor_us, bound)
    work = _Work(bench=bench, states=states, known=states.marks.without(dropped))
    for record in records:
        _read(work, record)
    if work.last is None:
        return Outcome(skipped=work.skipped)
    return _outcome(work, generation=place.generation, dropped=dropped, by_budget=by_budget)


def _to_drop(
    states: States, records: Sequence[Record], *, specs: Specs, marks_max: int
) -> tuple[int, bool]:
    if not records:
        return 0, False
    before_us = records[0].stored_us - _horizon(specs)
    return states.marks.to_drop(before_us=before_us, budget=marks_max)


def _horizon(specs: Specs) -> int:
    meterings = [pool.metering for pool in specs.values()]
    seconds = (each.acceptance_horizon_seconds + each.future_seconds_max for each in meterings)
    return max(HORIZON_DEFAULT_US, *(each * US_PER_S for each in seconds), 0)


def _read(work: _Work, record: Record) -> None:
    """Judge every event of one record; a frame shares one offset and is folded whole."""
    begun = work.states.position
    events = decode_record(record.value, record.headers)
    letters = Letters(record, events=len(events))
    for index, decoded in enumerate(events):
        position = Position(work.bench.epoch, work.bench.partition, record.offset, index)
        if begun is not None and position <= begun:
            work.skipped += 1
            continue
        ruling = judge(
            decoded,
            record,
            index=index,
            bench=work.bench,
            known=work.known,
            fresh=work.fresh,
        )
        work.counts[ruling.kind] = work.counts.get(ruling.kind, 0) + 1
        work.last, work.last_stored_us = position, record.stored_us
        if ruling.kind is not VerdictKind.ACCEPTED:
            work.verdicts.append(letters.verdict(decoded, ruling=ruling, position=position))
        if isinstance(decoded, UsageEvent):
            _settle(work, decoded, record, letters=letters, ruling=ruling, position=position)


def _settle(
    work: _Work,
    event: UsageEvent,
    record: Record,
    *,
    letters: Letters,
    ruling: Ruling,
    position: Position,
) -> None:
    if ruling.kind is VerdictKind.ACCEPTED:
        _accept(work, event, record, ruling=ruling, position=position)
    elif ruling.kind is VerdictKind.FORWARDED:
        work.forwards.append(letters.forward(event, position=position))


def _accept(
    work: _Work, event: UsageEvent, record: Record, *, ruling: Ruling, position: Position
) -> None:
    mark = new_mark(event, identity=ruling.identity, position=position)
    work.fresh[ruling.identity] = (mark.body, position)
    work.marks.append(mark)
    work.event_us_max = max(work.event_us_max, event.event_us)
    pool = work.bench.specs.get(event.data.pool)
    _add_totals(work, event, position=position)
    _add_minute(work, event, record, pool=pool, position=position)
    if pool is not None:
        work.increments.append(_increment(event, pool))


def _add_totals(work: _Work, event: UsageEvent, *, position: Position) -> None:
    key = (event.data.pool, event.data.entitlement)
    entry = work.totals.get(key) or work.states.totals.get(key)
    before = WindowTotals() if entry is None else entry.totals
    work.totals[key] = TotalsEntry(
        pool=key[0], entitlement=key[1], position=position, totals=before + increment_of(event)
    )


def _add_minute(
    work: _Work, event: UsageEvent, record: Record, *, pool: Pool | None, position: Position
) -> None:
    minute_us = minute_of(event.event_us)
    key = (event.data.pool, event.data.entitlement, minute_us)
    entitlement = None if pool is None else pool.entitlements.get(event.data.entitlement)
    tenant = event.data.tenant[:NAME_CHARS_MAX] if entitlement is None else entitlement.tenant
    model = event.data.model[:NAME_CHARS_MAX] or ("" if pool is None else pool.model)
    if is_open(minute_us, stored_us=record.stored_us, lateness_us=lateness_of(pool)):
        entry = work.minutes.get(key) or work.states.minutes.get(key)
        work.minutes[key] = with_event(entry, event, tenant=tenant, model=model, position=position)
    else:
        work.orders.append(order_of(event, tenant=tenant, model=model, position=position))


def _increment(event: UsageEvent, pool: Pool) -> Increment:
    return Increment(
        pool=pool.name,
        entitlement=event.data.entitlement,
        cost_tokens=pool.weights.cost_tokens(event.data.counts),
        duration_us=event.data.end_us - event.data.start_us,
    )


def _outcome(work: _Work, *, generation: int, dropped: int, by_budget: bool) -> Outcome:
    assert work.last is not None
    counts = VerdictCounts(**{kind.value: number for kind, number in work.counts.items()})
    partition = _partition(work, counts=counts)
    closed = _closed(work)
    minutes = tuple(entry for key, entry in work.minutes.items() if key not in closed)
    rollups = [rollup_of(entry) for entry in work.minutes.values()]
    return Outcome(
        partition=partition,
        totals=tuple(work.totals.values()),
        minutes=minutes,
        marks=_marks(work),
        closed_minutes=closed,
        dropped_blocks=dropped,
        dropped_by_budget=by_budget,
        verdicts=tuple(work.verdicts),
        judged=JudgedThrough(
            epoch=work.last.epoch,
            partition=work.last.partition,
            offset=work.last.offset,
            generation=generation,
            counts=partition.counts,
            floor_us=partition.floor_us,
        ),
        rollups=(*rollups, *latest_orders(work.orders)),
        forwards=tuple(work.forwards),
        increments=tuple(work.increments),
        counts=counts,
        skipped=work.skipped,
    )


def _partition(work: _Work, *, counts: VerdictCounts) -> PartitionEntry:
    assert work.last is not None
    before = work.states.partition
    return PartitionEntry(
        partition=work.last.partition,
        position=work.last,
        stored_us=work.last_stored_us,
        counts=counts if before is None else before.counts + counts,
        verdicts_offset=0 if before is None else before.verdicts_offset,
        floor_us=work.bench.floor_us,
        watermark_us=max(work.event_us_max, 0 if before is None else before.watermark_us),
    )


def _marks(work: _Work) -> MarksEntry | None:
    if not work.marks or work.last is None:
        return None
    return MarksEntry(
        partition=work.last.partition,
        position=work.last,
        stored_us=work.last_stored_us,
        event_us_max=work.event_us_max,
        marks=tuple(work.marks),
    )


def _closed(work: _Work) -> tuple[MinuteKey, ...]:
    """Return the minutes whose lateness has passed; looked at once per minute of stored time."""
    before = work.states.partition
    if before is not None and minute_of(before.stored_us) == minute_of(work.last_stored_us):
        return ()
    specs = work.bench.specs
    return tuple(
        key
        for key in {**work.states.minutes, **work.minutes}
        if not is_open(
            key[2], stored_us=work.last_stored_us, lateness_us=lateness_of(specs.get(key[0]))
        )
    )
