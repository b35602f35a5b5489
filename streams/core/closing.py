"""Closing: what a fold's tallies make of the ledger's entries, and what is published of them.

Windows that changed are published when the broker's clock enters a new slot, and whatever closes is
published before it leaves the table.  Rollups carry absolute values, so it does not matter when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.ledger import LineEntry, PartitionEntry, TotalsEntry, WindowEntry, WindowTotals
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.units import US_PER_MINUTE, US_PER_S
from schemas.verdicts import JudgedThrough, Verdict, VerdictCounts
from streams.core.judge import Bench, Specs
from streams.core.lines import Line, LineKey, lines_to_drop, numbered_entry
from streams.core.marks import marks_entry, position_of_place
from streams.core.memory import Memory
from streams.core.outcome import (
    SIZES,
    EntitlementKey,
    Forward,
    Outcome,
    States,
    WindowKey,
    size_of,
)
from streams.core.tally import Desk, Tally, increments
from streams.core.windows import closed_windows, rollup_of, slots_entered

ALL_SIZES: Final = tuple(range(SIZES))
NO_TOTALS: Final = WindowTotals()

HORIZON_DEFAULT_US: Final = 86_700 * US_PER_S
"""For how long marks are kept where no pool says more (24 h and 5 min of clock error)."""


@dataclass(frozen=True, kw_only=True)
class Closing:
    """A fold whose records have all been read."""

    states: States
    memory: Memory
    bench: Bench
    desks: Sequence[Desk]
    generation: int
    position: Position
    stored_us: int
    clock_us: int
    event_us_max: int
    verdicts: tuple[Verdict, ...]
    orders: tuple[Rollup, ...]
    forwards: tuple[Forward, ...]
    counts: VerdictCounts
    skipped: int

    @property
    def before(self) -> PartitionEntry | None:
        """The partition as the fold found it."""
        return self.states.partition


def close(closing: Closing, *, dropped: int, by_budget: bool) -> Outcome:
    """Return the outcome; ``dropped`` blocks of marks go, ``by_budget`` says why."""
    memory = closing.memory
    dropped_bodies = closing.states.bodies.to_drop()
    totals = list(_added(closing.desks))
    changed = dict(_windows(closing))
    sizes = _sizes(closing)
    closed = _closed(closing, changed) if 0 in sizes else ()
    left = set(closed)
    lines = [line for desk in closing.desks for line in desk.lines.values() if line.place >= 0]
    gone, by_room = _gone(closing, {line.key for line in lines})
    floor_us = max(closing.bench.floor_us, _floor_above_lines(closing.states, gone))
    partition = _partition(closing, sizes=sizes, floor_us=floor_us)
    return Outcome(
        partition=partition,
        totals=tuple(_totals(closing, totals)),
        windows=tuple(each for key, each in changed.items() if key not in left),
        marks=marks_entry(
            closing.states.marks,
            memory.marks,
            dropped=dropped,
            position=closing.position,
            stored_us=closing.stored_us,
            event_us_max=memory.marks_event_us_max,
        ),
        numbered=numbered_entry(
            closing.states.bodies, lines, dropped=dropped_bodies, position=closing.position
        ),
        lines=tuple(_line(closing, line) for line in lines),
        replayed=tuple(memory.replayed.values()),
        closed_windows=closed,
        published=sizes,
        dropped_blocks=dropped,
        dropped_bodies=dropped_bodies,
        dropped_lines=gone,
        dropped_by_budget=by_budget or by_room,
        gaps_closed=memory.gaps_closed,
        verdicts=closing.verdicts,
        judged=_judged(partition, generation=closing.generation),
        rollups=(*_rollups(closing.states, changed, sizes, closed), *_latest(closing.orders)),
        forwards=closing.forwards,
        increments=tuple(each for key, added in totals for each in increments(key, added)),
        counts=closing.counts,
        skipped=closing.skipped,
    )


def publish_rest(states: States) -> Outcome:
    """Return the rollups of every window that changed since it was published last."""
    before = states.partition
    if before is None or not states.has_unpublished:
        return Outcome()
    return Outcome(
        partition=msgspec.structs.replace(before, rolled=(before.position,) * SIZES),
        published=ALL_SIZES,
        rollups=tuple(_rollups(states, {}, ALL_SIZES, ())),
    )


def _sizes(closing: Closing) -> tuple[int, ...]:
    """Return the sizes of windows that are published now."""
    before = closing.before
    if before is None or before.rolled is None:
        return ALL_SIZES
    return slots_entered(before.clock_us, closing.clock_us)


def _added(desks: Iterable[Desk]) -> Iterator[tuple[EntitlementKey, Tally]]:
    """Yield what was added to each entitlement that anything was added to."""
    for desk in desks:
        for account in desk.all_accounts():
            added = account.total()
            if added.events:
                yield account.key, added


def _totals(
    closing: Closing, totals: Iterable[tuple[EntitlementKey, Tally]]
) -> Iterator[TotalsEntry]:
    for key, added in totals:
        known = closing.states.totals.get(key)
        yield TotalsEntry(
            pool=key[0],
            entitlement=key[1],
            position=_position(closing, added.place),
            totals=added.on_top_of(NO_TOTALS if known is None else known.totals),
        )


def _windows(closing: Closing) -> Iterator[tuple[WindowKey, WindowEntry]]:
    place, position = -1, closing.position
    for desk in closing.desks:
        for account in desk.all_accounts():
            owner = account.key
            for span, added in account.by_window(desk.lengths_us).items():
                key = (span, owner)
                known = closing.states.window(key)
                if added.place != place:
                    place, position = added.place, _position(closing, added.place)
                yield (
                    key,
                    WindowEntry(
                        pool=desk.name,
                        entitlement=owner[1],
                        tenant=account.tenant,
                        model=desk.model_of(added.model),
                        start_us=span[1],
                        window_us=span[0],
                        position=position,
                        totals=added.on_top_of(NO_TOTALS if known is None else known.totals),
                    ),
                )


def _line(closing: Closing, line: Line) -> LineEntry:
    return line.entry(epoch=closing.position.epoch, partition=closing.position.partition)


def _position(closing: Closing, place: int) -> Position:
    return position_of_place(place, closing.position.epoch, closing.position.partition)


def _closed(closing: Closing, changed: Iterable[WindowKey]) -> tuple[WindowKey, ...]:
    return tuple(
        closed_windows(
            closing.states, changed, clock_us=closing.clock_us, pools=closing.bench.specs
        )
    )


def _rollups(
    states: States,
    changed: dict[WindowKey, WindowEntry],
    sizes: Sequence[int],
    closed: Iterable[WindowKey],
) -> Iterator[Rollup]:
    """Yield what changed of these sizes, and of what closes; as it is after the fold."""
    for size in ALL_SIZES:
        closing = {key for key in closed if size_of(key[0][0]) == size}
        if size not in sizes and not closing:
            continue
        keys: Iterable[WindowKey] = {
            **states.unpublished[size],
            **{key: None for key in changed if size_of(key[0][0]) == size},
        }
        if size not in sizes:
            keys = [key for key in keys if key in closing]
        for key in keys:
            entry = changed.get(key) or states.window(key)
            if entry is not None:
                yield rollup_of(entry)


def _latest(orders: Iterable[Rollup]) -> list[Rollup]:
    """Return one order per window: the one with the highest version."""
    latest = {
        (each.pool, each.entitlement, each.window_us, each.window_start_us): each for each in orders
    }
    return list(latest.values())


def horizon_of(specs: Specs) -> int:
    """Return for how many microseconds of stored time an id must be remembered."""
    meterings = [pool.metering for pool in specs.values()]
    seconds = (each.acceptance_horizon_seconds + each.future_seconds_max for each in meterings)
    return max(HORIZON_DEFAULT_US, *(each * US_PER_S for each in seconds), 0)


def _gone(closing: Closing, touched: set[LineKey]) -> tuple[tuple[LineKey, ...], bool]:
    """Return the lines to forget; looked at once per minute of the broker's clock."""
    before = closing.before
    if before is None or before.clock_us // US_PER_MINUTE == closing.clock_us // US_PER_MINUTE:
        return (), False
    before_us = closing.clock_us - horizon_of(closing.bench.specs)
    gone, by_room = lines_to_drop(closing.states.lines, before_us=before_us)
    return tuple(key for key in gone if key not in touched), by_room


def _floor_above_lines(states: States, gone: Iterable[LineKey]) -> int:
    return max((states.lines[key].event_us_max + 1 for key in gone), default=0)


def _partition(closing: Closing, *, sizes: Sequence[int], floor_us: int) -> PartitionEntry:
    before, position = closing.before, closing.position
    rolled = (position,) * SIZES if before is None else before.rolled or (position,) * SIZES
    one, two, three = (position if size in sizes else rolled[size] for size in ALL_SIZES)
    return PartitionEntry(
        partition=position.partition,
        position=position,
        stored_us=closing.stored_us,
        counts=closing.counts if before is None else before.counts + closing.counts,
        verdicts_offset=0 if before is None else before.verdicts_offset,
        floor_us=floor_us,
        watermark_us=max(closing.event_us_max, 0 if before is None else before.watermark_us),
        clock_us=closing.clock_us,
        rolled=(one, two, three),
    )


def _judged(partition: PartitionEntry, *, generation: int) -> JudgedThrough:
    return JudgedThrough(
        epoch=partition.position.epoch,
        partition=partition.partition,
        offset=partition.position.offset,
        generation=generation,
        counts=partition.counts,
        floor_us=partition.floor_us,
    )
