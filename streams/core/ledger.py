"""The ledger: totals, windows, marks and counts of one partition of ``usage``, as a pure fold.

``fold`` reads records in the order of the partition and returns what they change.  Positions make
a replay a no-op: events at or below the position that the partition had when the fold began change
nothing, so folding the same records twice equals folding them once, whatever the boundaries between
batches.  Accepted, duplicate, late, dead and forwarded events add up to the events read.

An ordinary event (structured, at home, in time, its number or id new) is counted by one tight loop;
whatever that does not recognise goes to the judge, whose ruling would have been the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from schemas.errors import MalformedEventError
from schemas.positions import Position
from schemas.units import US_PER_MS
from schemas.usage import (
    Headers,
    UsageEvent,
    decode_parts,
    split_frame,
)
from schemas.verdicts import VerdictCounts, VerdictKind
from streams.core.closing import HORIZON_DEFAULT_US, Closing, close, horizon_of, publish_rest
from streams.core.judge import NOTHING_BOUND, Bench, Bound, Record, Ruling, Specs, judge
from streams.core.letters import Letters
from streams.core.marks import (
    PLACE_BITS,
    Seen,
    body_of,
    floor_above,
    place_of,
    position_of_place,
)
from streams.core.memory import Memory
from streams.core.ordinary import count_all, ordinary
from streams.core.outcome import Outcome, Place, States, WindowSpan
from streams.core.tally import Account, Desk
from streams.core.windows import is_open, may_open, order_of
from streams.core.work import Work, any_desk

MARKS_MAX_DEFAULT: Final = 1_000_000
"""Marks kept per partition; beyond it the acceptance horizon shrinks, audibly."""

SPECIAL_HEADERS: Final = ("ce_", "tokenpools-")


@dataclass(frozen=True)
class Limits:
    """What bounds the memory of one partition."""

    marks_max: int = MARKS_MAX_DEFAULT
    """Unnumbered ids, about 135 bytes each."""


DEFAULT_LIMITS: Final = Limits()


def fold(
    states: States,
    records: Sequence[Record],
    *,
    specs: Specs,
    place: Place,
    bound: Bound = NOTHING_BOUND,
    limits: Limits = DEFAULT_LIMITS,
) -> Outcome:
    """Return what the records change; ``states`` is only read."""
    dropped, by_budget = _to_drop(states, records, specs=specs, limits=limits)
    work = _begin(states, specs=specs, place=place, bound=bound, dropped=dropped)
    index = 0
    while index < len(records):
        index += count_all(work, ordinary(records, index, after=work.judged_offset))
        if index < len(records):
            _read(work, records[index])
            index += 1
    if work.last_place < 0:
        return Outcome(skipped=work.skipped)
    return close(_closing(work, place=place), dropped=dropped, by_budget=by_budget)


def rest(states: States) -> Outcome:
    """Return the rollups of every window that changed since it was published last."""
    return publish_rest(states)


def _begin(states: States, *, specs: Specs, place: Place, bound: Bound, dropped: int) -> Work:
    before = states.partition
    floor_us = max(
        0 if before is None else before.floor_us, floor_above(states.marks.blocks[:dropped])
    )
    bench = Bench(specs, place.epoch, place.partition, place.partitions, floor_us, bound)
    begun = states.position
    folded = -1 if begun is None or begun.epoch < place.epoch else begun.offset
    return Work(
        bench=bench,
        states=states,
        memory=Memory(states, place.epoch, place.partition, dropped),
        begun=begun,
        judged_offset=max(folded, bound.offset),
        clock_us=0 if before is None else before.clock_us or before.stored_us,
    )


def _to_drop(
    states: States, records: Sequence[Record], *, specs: Specs, limits: Limits
) -> tuple[int, bool]:
    if not records or not states.marks.blocks:
        return 0, False
    stored_us = records[0].timestamp * US_PER_MS
    before_us = stored_us - HORIZON_DEFAULT_US
    if states.marks.blocks[0].stored_us < before_us:
        before_us = stored_us - horizon_of(specs)
    return states.marks.to_drop(before_us=before_us, budget=limits.marks_max)


# --- one record ---------------------------------------------------------------------------------


def _read(work: Work, record: Record) -> None:
    """Count or judge every event of one record; a frame shares one offset and is folded whole."""
    stored_us = record.timestamp * US_PER_MS
    work.clock_us = max(work.clock_us, stored_us)
    first = 0
    if record.offset > work.judged_offset and _is_plain(record.headers):
        parts = _parts(record.value, record.headers)
        place = record.offset << PLACE_BITS
        places = range(place, place + len(parts))
        first = count_all(work, zip(parts, places, repeat(stored_us)))
        if parts and first == len(parts):
            return
    _judge_all(work, record, first=first)


def _parts(value: bytes | None, headers: Headers) -> Sequence[bytes]:
    """Return the bytes of a record's events; nothing when the judge must say what is wrong."""
    try:
        return () if value is None else split_frame(value, headers)
    except MalformedEventError:
        return ()


def _is_plain(headers: Headers) -> bool:
    """Say whether no header makes the event binary, forwarded or replayed."""
    return not any(name.startswith(SPECIAL_HEADERS) for name, _ in headers)


# --- all others ---------------------------------------------------------------------------------


class _Asked:
    """The memory as the judge asks for it."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def seen(self, event: UsageEvent) -> Seen | None:
        return self._work.memory.seen(event, any_desk(self._work, event))

    def is_closed(self, event: UsageEvent) -> bool:
        return self._work.memory.is_closed(event, any_desk(self._work, event))

    def replay(self, replays: Position) -> Seen | None:
        return self._work.memory.replay(replays)


def _judge_all(work: Work, record: Record, *, first: int = 0) -> None:
    """Judge the events of one record, in a frame from the index ``first`` on."""
    parts = decode_parts(record.value, record.headers)
    letters = Letters(record, parts=[body for body, _ in parts])
    misplaced: list[tuple[UsageEvent, Position]] = []
    for index, (body, decoded) in enumerate(parts[first:], first):
        position = Position(work.bench.epoch, work.bench.partition, record.offset, index)
        if work.begun is not None and position <= work.begun:
            work.skipped += 1
            continue
        ruling = judge(
            decoded, record, body=body, index=index, bench=work.bench, memory=_Asked(work)
        )
        work.counts[ruling.kind] = work.counts.get(ruling.kind, 0) + 1
        work.last_place = place_of(record.offset, index)
        work.last_stored_us = record.timestamp * US_PER_MS
        if ruling.kind is not VerdictKind.ACCEPTED:
            work.verdicts.append(letters.verdict(decoded, ruling=ruling, position=position))
        if isinstance(decoded, UsageEvent):
            if ruling.kind is VerdictKind.ACCEPTED:
                _accept(work, decoded, record, body=body, ruling=ruling, position=position)
            elif ruling.kind is VerdictKind.FORWARDED:
                misplaced.append((decoded, position))
    work.forwards += letters.forwards(misplaced)


def _accept(
    work: Work,
    event: UsageEvent,
    record: Record,
    *,
    body: bytes,
    ruling: Ruling,
    position: Position,
) -> None:
    desk = any_desk(work, event)
    stored_us = record.timestamp * US_PER_MS
    if ruling.replays is None:
        work.memory.remember(
            event, desk, body=body_of(body), position=position, stored_us=stored_us
        )
    else:
        work.memory.remember_replay(ruling.replays, position=position)
    account = desk.account_of(event.data)
    _add_windows(work, desk, account, event, position=position)
    work.event_us_max = max(work.event_us_max, event.event_us)


def _add_windows(
    work: Work, desk: Desk, account: Account, event: UsageEvent, *, position: Position
) -> None:
    """Add the event to its windows that are open, and order the others from history."""
    data, place = event.data, place_of(position.offset, position.index)
    at_us = event.event_us
    spans = [(length_us, at_us - at_us % length_us) for length_us in desk.lengths_us]
    owned = [_owns(work, desk, account, span) for span in spans]
    if all(owned):
        account.second(at_us // desk.window_us).add(data, place, desk)
        return
    account.late().add(data, place, desk)
    for span, is_owned in zip(spans, owned, strict=True):
        if is_owned:
            account.window(span).add(data, place, desk)
        else:
            work.orders.append(
                order_of(
                    span,
                    account.key,
                    tenant=account.tenant,
                    model=desk.model_of(data.model),
                    position=position,
                )
            )


def _owns(work: Work, desk: Desk, account: Account, span: WindowSpan) -> bool:
    """Say whether the ledger counts in the window, rather than history."""
    return is_open(span, clock_us=work.clock_us, pool=desk.pool) and (
        may_open(span, clock_us=work.clock_us, pool=desk.pool)
        or work.states.window((span, account.key)) is not None
        or account.counts_in(span)
    )


def _closing(work: Work, *, place: Place) -> Closing:
    counts = dict(work.counts)
    counts[VerdictKind.ACCEPTED] = counts.get(VerdictKind.ACCEPTED, 0) + work.accepted
    return Closing(
        states=work.states,
        memory=work.memory,
        bench=work.bench,
        desks=(*work.desks.values(), *work.strangers.values()),
        generation=place.generation,
        position=position_of_place(work.last_place, work.bench.epoch, work.bench.partition),
        stored_us=work.last_stored_us,
        clock_us=work.clock_us,
        event_us_max=work.event_us_max,
        verdicts=tuple(work.verdicts),
        orders=tuple(work.orders),
        forwards=tuple(work.forwards),
        counts=VerdictCounts(**{kind.value: number for kind, number in counts.items()}),
        skipped=work.skipped,
    )
