"""Ordinary events, counted by one tight loop: structured, at home, in time, number or id new.

Nearly every event is one.  The loop stops at the first event that it does not recognise, of which
nothing has been changed then; the judge's ruling would have been the same for all before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from schemas.units import US_PER_MS
from schemas.usage import PLAIN_HEADER, CloudEvent, decode_plain
from streams.core.judge import Record
from streams.core.marks import BODY_MASK, PLACE_BITS, body_digest, body_of, identity_of
from streams.core.tally import Desk, Tally
from streams.core.work import Work, home_desk

Arrival = tuple[bytes, int, int]
"""An event's bytes, its place and its stored time."""


def ordinary(records: Sequence[Record], start: int, *, after: int) -> Iterator[Arrival]:
    """Yield the records from ``start`` on that may be ordinary events; stop at the first other."""
    for index in range(start, len(records)):
        record = records[index]
        headers = record.headers
        if headers and (len(headers) > 1 or headers[0] != PLAIN_HEADER):
            return
        value, offset = record.value, record.offset
        if value is None or offset <= after:
            return
        yield value, offset << PLACE_BITS, record.timestamp * US_PER_MS


def count_all(work: Work, arrivals: Iterable[Arrival]) -> int:  # noqa: C901, PLR0912 - the loop
    """Count ordinary events up to the first that is none, of which nothing is changed.

    Return how many were counted.
    """
    desks, floor_us, clock_us = work.desks, work.bench.floor_us, work.clock_us
    counted, last_place, last_us, event_us_max = 0, -1, 0, work.event_us_max
    for body, place, stored_us in arrivals:
        try:
            event = decode_plain(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            break
        data = event.data
        end_us = data.end_us
        desk = desks.get(data.pool) or home_desk(work, data.pool)
        if desk is None:
            break
        account = desk.accounts.get(data.entitlement) or desk.account(data.entitlement)
        if stored_us > clock_us:
            clock_us = stored_us
        if (
            account is None
            or data.start_us > end_us
            or data.reasoning_tokens > data.output_tokens
            or end_us < floor_us
            or end_us - stored_us > desk.future_us
            or clock_us - end_us >= desk.open_us
            or end_us < desk.opens_us
        ):
            break
        line = desk.lines.get(event.source)
        if line is not None and event.sequence == line.next_text:
            line.follow(body_digest(body) & BODY_MASK or 1, end_us, place, stored_us)
        elif not _is_new(work, event, desk, body, place, stored_us):
            break
        number = end_us // desk.window_us
        tally = account.seconds.get(number)
        if tally is None:
            tally = account.seconds[number] = Tally()
        tally.add(data, place, desk)
        if end_us > event_us_max:
            event_us_max = end_us
        counted += 1
        last_place, last_us = place, stored_us
    if counted:
        work.accepted += counted
        work.last_place, work.last_stored_us = last_place, last_us
        work.event_us_max = event_us_max
    work.clock_us = clock_us
    return counted


def _is_new(
    work: Work, event: CloudEvent, desk: Desk, body: bytes, place: int, stored_us: int
) -> bool:
    """Accept the first number of a line that is met, or an id that has no mark."""
    if event.sequence is None:
        identity = identity_of(event.source, event.id)
        if work.memory.marked(identity) is not None:
            return False
        work.memory.mark(identity, event.data.end_us, body=body_of(body), place=place)
        return True
    line = work.memory.line(desk, event.source)
    if event.sequence != line.next_text:
        return False
    line.follow(body_of(body), event.data.end_us, place, stored_us)
    return True
