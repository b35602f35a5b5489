"""Laws of the memory for numbered events: a line knows exactly which numbers it accepted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.ledger import LineEntry
from streams.core.lines import GAPS_MAX, Bodies, Line, bodies_of, numbered_entry
from streams.core.marks import Seen

KEY = ("alpha", "gateway")
EPOCH, PARTITION = 0, 3

numbers = st.lists(st.integers(0, 40), max_size=60)


def offered(line: Line, number: int, *, place: int) -> bool:
    """Offer a number as the fold does; say whether it was new."""
    if line.seen(number) is not None or line.is_closed(number):
        return False
    line.take(number, body=number + 1)
    line.touch(0, place=place, stored_us=place)
    return True


def reopened(line: Line, known: Bodies) -> tuple[LineEntry, Line]:
    """Return what the line becomes when it is written and read again, bodies included."""
    entry = line.entry(epoch=EPOCH, partition=PARTITION)
    block = numbered_entry(known, [line], dropped=0, position=entry.position)
    if block is not None:
        known.add(block)
    return entry, Line(KEY, entry, known.by_line.get(KEY, {}))


@given(sent=numbers)
def test_a_number_is_new_exactly_once_in_whatever_order_numbers_come(sent: list[int]) -> None:
    line = Line(KEY, None)
    accepted: set[int] = set()
    for place, number in enumerate(sent):
        assert offered(line, number, place=place) == (number not in accepted)
        accepted.add(number)

    assert {number for number in range(41) if line.seen(number) is not None} == accepted


@given(sent=numbers, cuts=st.sets(st.integers(0, 59)))
def test_a_line_that_is_written_and_read_between_two_events_knows_the_same(
    sent: list[int], cuts: set[int]
) -> None:
    whole, parts, known = Line(KEY, None), Line(KEY, None), Bodies()
    for place, number in enumerate(sent):
        offered(whole, number, place=place)
        offered(parts, number, place=place)
        if place in cuts and parts.place >= 0:
            _, parts = reopened(parts, known)

    assert (parts.next, parts.gaps) == (whole.next, whole.gaps)
    assert [parts.seen(number) for number in range(41)] == [whole.seen(n) for n in range(41)]


@given(sent=numbers)
def test_the_body_of_every_accepted_number_is_kept(sent: list[int]) -> None:
    line = Line(KEY, None)
    for place, number in enumerate(sent):
        offered(line, number, place=place)

    assert all(line.seen(number) == Seen(number + 1) for number in sent)


@given(sent=numbers)
def test_blocks_that_are_dropped_take_their_bodies_and_nothing_else(sent: list[int]) -> None:
    line, known = Line(KEY, None), Bodies()
    for place, number in enumerate(sent):
        if offered(line, number, place=place):
            _, line = reopened(line, known)
    again = bodies_of(known.blocks)

    known.drop(len(known.blocks) // 2)
    kept = {run.first for block in known.blocks for run in block.runs}

    assert set(known.by_line.get(KEY, {})) == kept
    assert again.count == len(set(sent))
    assert all(line.seen(number) is not None for number in sent)


def test_when_gaps_are_too_many_the_oldest_is_closed_and_its_numbers_are_not_called_seen() -> None:
    line = Line(KEY, None)
    closed = [line.take(2 * number, body=7) for number in range(1, GAPS_MAX + 3)]

    assert sum(closed) == 3
    assert len(line.gaps) == GAPS_MAX
    assert line.is_closed(1)
    assert line.seen(1) is None
    assert not line.is_closed(line.gaps[0][0])
