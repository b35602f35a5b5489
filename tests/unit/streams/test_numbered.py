"""Numbered gateways: one line each, conflicts by body, frames, and what a restart remembers."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.partitioning import partition_of
from schemas.positions import Position
from schemas.units import US_PER_S
from schemas.usage import (
    BATCH,
    CONTENT_TYPE_HEADER,
    FORWARDED_HEADER,
    NDJSON,
    REPLAYED_HEADER,
    STRUCTURED,
    UsageEvent,
    decode_parts,
    encode_structured,
)
from schemas.verdicts import DeadReason, VerdictCounts, VerdictKind
from schemas.wire import encode
from streams.core.judge import StoredRecord
from streams.core.ledger import fold
from streams.core.lines import GAPS_MAX
from streams.core.outcome import Outcome, Place, States, apply
from streams.core.restore import StoredKey, base_of, changes_of, restore
from tests.unit.streams.builders import (
    HOME,
    NOW_US,
    PARTITIONS,
    PLACE,
    SPECS,
    folded,
    pool,
    record,
    total,
    usage,
)

ELSEWHERE = [name for name in ("beta", "gamma", "delta") if partition_of(name, PARTITIONS) != HOME][
    :2
]


def numbered(*numbers: int, output: int = 5) -> list[StoredRecord]:
    """Return a record for each number, at offsets 0, 1, 2, ..."""
    return [
        record(usage(number, output=output, numbered=True), offset)
        for offset, number in enumerate(numbers)
    ]


def again(states: States, event: UsageEvent, offset: int = 100) -> Outcome:
    """Return the outcome of one more event."""
    return fold(states, [record(event, offset)], specs=SPECS, place=PLACE)


def test_a_thousand_events_in_order_leave_one_line_and_no_marks() -> None:
    states = folded(numbered(*range(1, 1_001)))

    [line] = states.lines.values()
    assert (line.next, line.gaps) == (1_001, ((0, 1),))
    assert len(states.marks) == 0


def test_the_same_number_with_the_same_bytes_is_a_duplicate_and_with_others_a_conflict() -> None:
    states = folded(numbered(1, 2, 3))

    repeated = again(states, usage(2, numbered=True))
    changed = again(states, usage(2, output=6, numbered=True))

    assert repeated.counts == VerdictCounts(duplicate=1)
    assert repeated.verdicts[0].reason == "sequence"
    assert changed.counts == VerdictCounts(dead=1)
    assert changed.verdicts[0].reason == DeadReason.CONFLICT


def test_numbers_that_come_late_fill_their_gaps_once() -> None:
    states = folded(numbered(1, 5, 3, 2, 4, 3))

    [line] = states.lines.values()
    assert (line.next, line.gaps) == (6, ((0, 1),))
    assert total(states).total == 25


def test_a_number_below_a_gap_that_was_closed_is_late_with_its_bytes() -> None:
    states = folded(numbered(*range(2, 2 * (GAPS_MAX + 3), 2)))
    event = usage(3, numbered=True)

    outcome = again(states, event, offset=10_000)

    assert [(each.verdict, each.reason) for each in outcome.verdicts] == [
        (VerdictKind.LATE, "sequence")
    ]
    assert outcome.verdicts[0].original == encode_structured(event)[0]


def test_what_a_changelog_restores_still_tells_duplicates_from_conflicts() -> None:
    states = States()
    stored: dict[bytes, bytes] = {}
    for batch in (numbered(1, 2), [record(usage(4, numbered=True), 2)]):
        outcome = fold(states, batch, specs=SPECS, place=PLACE)
        for key, value in changes_of(outcome, states, generations={}, generation=7):
            assert value is not None
            stored[key] = value
        apply(states, outcome)

    restored = restore(stored.items()).states

    assert restored == states
    assert again(restored, usage(4, numbered=True)).counts == VerdictCounts(duplicate=1)
    assert again(restored, usage(4, output=9, numbered=True)).counts == VerdictCounts(dead=1)
    assert again(restored, usage(3, numbered=True)).counts == VerdictCounts(accepted=1)


def test_a_line_is_forgotten_when_its_gateway_has_been_silent_for_the_horizon() -> None:
    states = folded(numbered(1, 2))
    later_us = NOW_US + 86_701 * US_PER_S
    event = usage(9, event_us=later_us)

    outcome = fold(states, [record(event, 5, stored_us=later_us)], specs=SPECS, place=PLACE)
    removed = changes_of(outcome, states, generations={}, generation=7)
    apply(states, outcome)

    assert states.lines == {}
    assert (b"q|%d|gateway|alpha|7" % HOME, None) in removed
    assert not outcome.dropped_by_budget


def lines(events: Sequence[UsageEvent]) -> bytes:
    """Return a frame of lines."""
    return b"\n".join(encode_structured(event)[0] for event in events)


def test_a_frame_of_lines_is_counted_event_by_event() -> None:
    events = [usage(number, output=number, numbered=True) for number in (1, 2, 3, 2)]
    frame = record(lines(events), 0, headers=((CONTENT_TYPE_HEADER, NDJSON),))

    outcome = fold(States(), [frame], specs=SPECS, place=PLACE)

    assert outcome.counts == VerdictCounts(accepted=3, duplicate=1)
    assert outcome.verdicts[0].position == Position(0, HOME, 0, 3)
    assert {each.position for each in outcome.totals} == {Position(0, HOME, 0, 2)}


def test_a_misplaced_frame_is_split_by_pool_and_keeps_every_events_bytes() -> None:
    one, other = ELSEWHERE
    events = [usage(1, pool=one), usage(2), usage(3, pool=other), usage(4, pool=one)]
    headers = ((CONTENT_TYPE_HEADER, NDJSON), ("trace", b"1"))

    outcome = fold(States(), [record(lines(events), 9, headers=headers)], specs=SPECS, place=PLACE)

    assert outcome.counts == VerdictCounts(accepted=1, forwarded=3)
    assert [each.pool for each in outcome.forwards] == [one, other]
    assert outcome.forwards[0].value == lines([events[0], events[3]])
    assert outcome.forwards[0].headers == (
        (CONTENT_TYPE_HEADER, NDJSON),
        ("trace", b"1"),
        (FORWARDED_HEADER, str(Position(0, HOME, 9, 0)).encode()),
    )
    assert outcome.forwards[1].value == encode_structured(events[2])[0]
    assert outcome.forwards[1].headers[0] == (CONTENT_TYPE_HEADER, STRUCTURED)


def test_events_that_span_lines_are_forwarded_as_an_array_byte_by_byte() -> None:
    one = ELSEWHERE[0]
    parts = [
        encode_structured(usage(number, pool=one))[0].replace(b",", b",\n") for number in (1, 2)
    ]
    frame = record(b"[" + b" , ".join(parts) + b"]", 0)

    [forward] = fold(States(), [frame], specs=SPECS, place=PLACE).forwards

    assert [body for body, _ in decode_parts(forward.value, forward.headers)] == parts
    assert forward.headers[0] == (CONTENT_TYPE_HEADER, BATCH)


def test_a_forwarded_frame_counts_once_in_its_own_partition() -> None:
    one = ELSEWHERE[0]
    frame = record([usage(number, pool=one, numbered=True) for number in (1, 2)], 0)
    [forward] = fold(States(), [frame], specs=SPECS, place=PLACE).forwards
    arrived = StoredRecord(0, NOW_US // 1_000, forward.key, forward.value, forward.headers)
    home = Place(partition=partition_of(one, PARTITIONS), partitions=PARTITIONS)

    outcome = fold(
        States(),
        [arrived, arrived._replace(offset=1)],
        specs={one: pool(one)},
        place=home,
    )

    assert outcome.counts == VerdictCounts(accepted=2, duplicate=2)


def test_a_replay_is_remembered_beyond_every_horizon() -> None:
    old = usage(1, event_us=NOW_US - 90_000 * US_PER_S)
    header = ((REPLAYED_HEADER, b"0/1/17/0"),)
    states = folded([record(old, 0, headers=header)])
    year_us = NOW_US + 365 * 86_400 * US_PER_S
    stored = {
        bytes(StoredKey(base_of(entry), 1)): encode(entry) for entry in states.replayed.values()
    }

    outcome = fold(
        states, [record(old, 1, stored_us=year_us, headers=header)], specs=SPECS, place=PLACE
    )

    assert outcome.counts == VerdictCounts(duplicate=1)
    assert restore(stored.items()).states.replayed == states.replayed
