"""What one fold makes of events: totals, minutes, verdicts, rollups, forwards, increments."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from schemas.ledger import WindowEntry
from schemas.partitioning import partition_of
from schemas.positions import Position
from schemas.specs import Metering
from schemas.units import US_PER_HOUR, US_PER_MINUTE, US_PER_S
from schemas.usage import FORWARDED_HEADER, REPLAYED_HEADER, UsageEvent, encode_binary
from schemas.verdicts import DeadReason, Verdict, VerdictCounts, VerdictKind
from schemas.wire import encode
from streams.core.judge import Bound, StoredRecord
from streams.core.ledger import Limits, fold, rest
from streams.core.letters import ORIGINAL_BYTES_MAX
from streams.core.marks import BLOCK_MARKS_MIN
from streams.core.outcome import Outcome, Place, States, apply
from streams.core.restore import restore
from streams.core.tally import DURATION_GRAIN_BITS
from streams.core.windows import OPENS_US, sliding
from tests.unit.streams.builders import (
    HOME,
    NOW_US,
    PARTITIONS,
    PLACE,
    POOL,
    SPECS,
    folded,
    once,
    pool,
    record,
    records,
    total,
    usage,
)

ELSEWHERE = next(
    name for name in ("beta", "gamma", "delta") if partition_of(name, PARTITIONS) != HOME
)


def _rulings(outcome: Outcome) -> list[tuple[int, VerdictKind, str]]:
    return [(each.position.offset, each.verdict, each.reason) for each in outcome.verdicts]


def test_a_malformed_event_is_dead_lettered_and_the_rest_still_count() -> None:
    outcome = once(usage(1, output=5), b"not json", usage(2, output=7))

    assert sum(entry.totals.tokens.total for entry in outcome.totals) == 12
    assert _rulings(outcome) == [(1, VerdictKind.DEAD, DeadReason.MALFORMED)]
    assert outcome.verdicts[0].original == b"not json"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(None, DeadReason.TOMBSTONE, id="a tombstone"),
        pytest.param(b"", DeadReason.MALFORMED, id="an empty value"),
        pytest.param(b"[]", DeadReason.MALFORMED, id="an empty frame"),
        pytest.param(
            usage(entitlement="nobody"), DeadReason.UNKNOWN_ENTITLEMENT, id="unknown entitlement"
        ),
        pytest.param(
            usage(event_us=NOW_US + 301 * US_PER_S), DeadReason.FUTURE, id="too far ahead"
        ),
    ],
)
def test_what_cannot_be_counted_is_dead(
    content: UsageEvent | bytes | None, reason: DeadReason
) -> None:
    outcome = once(content)

    assert _rulings(outcome) == [(0, VerdictKind.DEAD, reason)]
    assert outcome.counts == VerdictCounts(dead=1)


def test_a_pool_that_nobody_specified_is_dead_in_its_own_partition() -> None:
    outcome = fold(States(), records(usage()), specs={}, place=PLACE)

    assert _rulings(outcome) == [(0, VerdictKind.DEAD, DeadReason.UNKNOWN_POOL)]
    assert outcome.misses_spec


def test_the_first_event_with_an_id_wins_and_later_ones_name_it() -> None:
    outcome = once(usage(1), usage(2), usage(1))

    assert _rulings(outcome) == [(2, VerdictKind.DUPLICATE, "id")]
    assert outcome.verdicts[0].first == Position(0, HOME, 0)
    assert outcome.counts == VerdictCounts(accepted=2, duplicate=1)


def test_an_id_that_was_used_with_another_body_is_a_conflict() -> None:
    states = folded(records(usage(1, output=5)))

    outcome = fold(states, [record(usage(1, output=6), 1)], specs=SPECS, place=PLACE)

    assert _rulings(outcome) == [(1, VerdictKind.DEAD, DeadReason.CONFLICT)]


def test_the_same_event_in_another_encoding_is_a_conflict_and_never_counts_twice() -> None:
    """A body is its bytes: whoever repeats an event repeats them."""
    value, headers = encode_binary(usage(1))

    outcome = fold(
        folded(records(usage(1))),
        [StoredRecord(1, NOW_US // 1_000, b"key", value, headers)],
        specs=SPECS,
        place=PLACE,
    )

    assert _rulings(outcome) == [(1, VerdictKind.DEAD, DeadReason.CONFLICT)]


def test_the_same_id_from_another_source_is_another_event() -> None:
    outcome = once(usage(1, source="a"), usage(1, source="b"))

    assert outcome.counts == VerdictCounts(accepted=2)


def test_an_event_older_than_the_acceptance_horizon_is_late_and_keeps_its_bytes() -> None:
    old = usage(1, event_us=NOW_US - 86_401 * US_PER_S)

    outcome = once(old)

    assert _rulings(outcome) == [(0, VerdictKind.LATE, "horizon")]
    assert outcome.verdicts[0].original == record(old).value
    assert outcome.totals == ()


def _spans(entries: Iterable[WindowEntry]) -> list[tuple[int, int]]:
    return sorted((each.window_us, each.start_us) for each in entries)


def _windows_at(event_us: int, *lengths_us: int) -> list[tuple[int, int]]:
    return [(length_us, event_us - event_us % length_us) for length_us in lengths_us]


def test_an_event_counts_in_its_second_its_minute_and_its_hour() -> None:
    outcome = once(usage(1, output=9))

    assert _spans(outcome.windows) == _windows_at(NOW_US, US_PER_S, US_PER_MINUTE, US_PER_HOUR)
    assert {entry.totals.tokens.output_tokens for entry in outcome.windows} == {9}


@pytest.mark.parametrize(
    ("age_s", "owned"),
    [
        pytest.param(
            120, (US_PER_S, US_PER_MINUTE, US_PER_HOUR), id="its second is open for 2 minutes"
        ),
        pytest.param(121, (US_PER_MINUTE, US_PER_HOUR), id="then only minute and hour"),
        pytest.param(640, (US_PER_HOUR,), id="then only the hour"),
        pytest.param(8_000, (), id="in the end nothing"),
    ],
)
def test_a_late_event_counts_in_the_totals_and_orders_the_windows_that_are_closed(
    age_s: int, owned: tuple[int, ...]
) -> None:
    event_us = NOW_US - age_s * US_PER_S

    outcome = once(usage(1, output=9, event_us=event_us))

    orders = [each for each in outcome.rollups if each.order]
    ordered = [length for length in (US_PER_S, US_PER_MINUTE, US_PER_HOUR) if length not in owned]
    assert [entry.totals.tokens.total for entry in outcome.totals] == [9]
    assert _spans(outcome.windows) == _windows_at(event_us, *owned)
    assert [(each.window_us, each.window_start_us) for each in orders] == _windows_at(
        event_us, *ordered
    )
    assert {each.version for each in orders} <= {Position(0, HOME, 0)}


@pytest.mark.parametrize("age_s", [7, 100, 500])
def test_a_window_from_before_the_present_spec_is_not_opened_long_after_its_end(age_s: int) -> None:
    """It may have been closed when the spec allowed less: it would begin at nothing."""
    event_us = NOW_US - age_s * US_PER_S
    applied = msgspec.structs.replace(pool(), applied_us=NOW_US)

    outcome = fold(
        States(), [record(usage(1, event_us=event_us))], specs={POOL: applied}, place=PLACE
    )

    passed = [
        span
        for span in _windows_at(event_us, US_PER_S, US_PER_MINUTE, US_PER_HOUR)
        if sum(span) + OPENS_US <= NOW_US
    ]
    orders = [each for each in outcome.rollups if each.order]
    assert passed
    assert [(each.window_us, each.window_start_us) for each in orders] == passed


def test_a_window_leaves_the_table_once_its_lateness_has_passed() -> None:
    states = folded([record(usage(1), 0)])
    later_us = NOW_US + 661 * US_PER_S

    outcome = fold(
        states,
        [record(usage(2, event_us=later_us), 1, stored_us=later_us)],
        specs=SPECS,
        place=PLACE,
    )
    apply(states, outcome)

    assert sorted(span for span, _ in outcome.closed_windows) == _windows_at(
        NOW_US, US_PER_S, US_PER_MINUTE
    )
    assert _spans(states.all_windows()) == sorted(
        {
            *_windows_at(NOW_US, US_PER_HOUR),
            *_windows_at(later_us, US_PER_S, US_PER_MINUTE, US_PER_HOUR),
        }
    )
    assert total(states).total == 10


def test_a_broker_clock_that_steps_back_reopens_no_window() -> None:
    later_us = NOW_US + 7_300 * US_PER_S
    states = folded(
        [record(usage(1), 0)], [record(usage(2, event_us=later_us), 1, stored_us=later_us)]
    )

    outcome = fold(states, [record(usage(3), 2)], specs=SPECS, place=PLACE)

    assert outcome.windows == ()
    assert [each.order for each in outcome.rollups] == [True, True, True]


def _published(outcome: Outcome) -> list[int]:
    return sorted(each.window_us for each in outcome.rollups)


def test_windows_are_published_when_the_brokers_clock_enters_a_new_slot() -> None:
    states = folded([record(usage(1), 0)])
    same_slot_us, next_slot_us = NOW_US + 1_000, NOW_US + US_PER_S

    quiet = fold(states, [record(usage(2), 1, stored_us=same_slot_us)], specs=SPECS, place=PLACE)
    apply(states, quiet)
    loud = fold(states, [record(usage(3), 2, stored_us=next_slot_us)], specs=SPECS, place=PLACE)
    apply(states, loud)

    assert _published(quiet) == []
    assert _published(loud) == [US_PER_S]
    assert loud.rollups[0].events == 3
    assert _published(rest(states)) == [US_PER_MINUTE, US_PER_HOUR]


def test_what_is_left_to_publish_is_published_once() -> None:
    states = folded(records(usage(1)), [record(usage(2), 1)])

    apply(states, rest(states))

    assert not states.has_unpublished
    assert rest(states) == Outcome()


def test_a_window_that_closes_is_published_first() -> None:
    brief = {POOL: pool(metering=Metering(lateness_minute_seconds=601))}
    states = folded(records(usage(1)), [record(usage(2), 1)], specs=brief)
    minute_end_us = NOW_US - NOW_US % US_PER_MINUTE + US_PER_MINUTE
    closes_us = minute_end_us + 601 * US_PER_S

    outcome = fold(
        states,
        [record(usage(3, event_us=closes_us), 2, stored_us=closes_us)],
        specs=brief,
        place=PLACE,
    )

    closed = [each for each in outcome.rollups if each.window_start_us < minute_end_us]
    assert (US_PER_MINUTE, 2) in [(each.window_us, each.events) for each in closed]


def test_rollups_are_the_absolute_values_of_the_windows_that_changed() -> None:
    states = folded([record(usage(1, output=5), 0)])
    later = record(usage(2, output=7, demoted=True), 1, stored_us=NOW_US + US_PER_S)

    outcome = fold(states, [later], specs=SPECS, place=PLACE)

    [rollup] = outcome.rollups
    assert (rollup.tokens.output_tokens, rollup.events, rollup.requests) == (12, 2, 2)
    assert rollup.demoted_tokens == 7
    assert (rollup.tenant, rollup.model) == ("tenant-0", "model")
    assert rollup.version == Position(0, HOME, 1)


def test_a_sliding_window_is_the_sum_of_its_seconds() -> None:
    states = folded(
        records(*(usage(n, output=1 << n, event_us=NOW_US - n * US_PER_S) for n in range(6)))
    )

    counted = sliding(states, (POOL, "e0"), until_us=NOW_US, span_us=3 * US_PER_S)

    assert (counted.tokens.output_tokens, counted.events) == (0b1110, 3)


def test_a_partial_event_adds_tokens_and_no_request() -> None:
    outcome = once(usage(1, final=False))

    assert [(entry.totals.events, entry.totals.requests) for entry in outcome.totals] == [(1, 0)]


def test_served_tokens_are_weighted_by_cost_and_know_their_production_time() -> None:
    outcome = once(usage(1, output=5))

    [increment] = outcome.increments
    assert (increment.pool, increment.entitlement) == (POOL, "e0")
    assert increment.cost_tokens == 5
    assert US_PER_S <= increment.duration_us < US_PER_S + (1 << DURATION_GRAIN_BITS)


def test_a_misplaced_event_is_forwarded_unchanged_with_its_position() -> None:
    misplaced = record(usage(1, pool=ELSEWHERE), 7, headers=(("trace", b"1"),))

    outcome = fold(States(), [misplaced], specs=SPECS, place=PLACE)

    assert _rulings(outcome) == [(7, VerdictKind.FORWARDED, "")]
    [forward] = outcome.forwards
    assert (forward.pool, forward.key, forward.value) == (ELSEWHERE, b"key", misplaced.value)
    mark = (FORWARDED_HEADER, str(Position(0, HOME, 7)).encode())
    assert list(forward.headers) == [*misplaced.headers, mark]


def test_an_event_that_was_forwarded_already_is_dead_not_forwarded_again() -> None:
    misplaced = record(usage(1, pool=ELSEWHERE), headers=((FORWARDED_HEADER, b"0/1/2/0"),))

    outcome = fold(States(), [misplaced], specs=SPECS, place=PLACE)

    assert _rulings(outcome) == [(0, VerdictKind.DEAD, DeadReason.MISPLACED)]
    assert outcome.forwards == ()


def test_of_a_frame_only_the_misplaced_event_is_forwarded() -> None:
    outcome = once([usage(1), usage(2, pool=ELSEWHERE), usage(3)])

    assert outcome.counts == VerdictCounts(accepted=2, forwarded=1)
    [forward] = outcome.forwards
    again = fold(
        States(),
        [StoredRecord(0, NOW_US // 1_000, forward.key, forward.value, forward.headers)],
        specs={ELSEWHERE: pool(ELSEWHERE)},
        place=Place(partition=partition_of(ELSEWHERE, PARTITIONS), partitions=PARTITIONS),
    )
    assert again.counts == VerdictCounts(accepted=1)


def test_a_dead_event_of_a_frame_keeps_its_own_part_of_the_bytes() -> None:
    frame = msgspec.json.encode([{"id": 1}, {"id": 2}])

    outcome = once(frame)

    assert [each.original for each in outcome.verdicts] == [b'{"id":1}', b'{"id":2}']
    assert [each.position.index for each in outcome.verdicts] == [0, 1]


def test_an_original_that_would_not_fit_a_record_is_left_out_and_the_error_says_so() -> None:
    outcome = once(b"x" * (ORIGINAL_BYTES_MAX + 1))

    assert outcome.verdicts[0].original is None
    assert "left out" in outcome.verdicts[0].error


def test_what_an_earlier_owner_published_binds() -> None:
    dead = Verdict(
        position=Position(0, HOME, 0), verdict=VerdictKind.DEAD, reason=DeadReason.UNKNOWN_POOL
    )
    bound = Bound(offset=1, verdicts={dead.position: dead})

    outcome = fold(
        States(),
        records(usage(1), usage(2, entitlement="gone"), usage(3, entitlement="gone")),
        specs=SPECS,
        place=PLACE,
        bound=bound,
    )

    assert _rulings(outcome) == [
        (0, VerdictKind.DEAD, DeadReason.UNKNOWN_POOL),
        (2, VerdictKind.DEAD, DeadReason.UNKNOWN_ENTITLEMENT),
    ]
    assert outcome.counts == VerdictCounts(accepted=1, dead=2)


def test_a_replayed_dead_letter_skips_horizon_and_ids_and_counts_once_per_position() -> None:
    old = usage(1, event_us=NOW_US - 90_000 * US_PER_S)
    header = ((REPLAYED_HEADER, b"0/1/17/0"),)

    outcome = fold(
        States(),
        [record(old, 0, headers=header), record(old, 1, headers=header)],
        specs=SPECS,
        place=PLACE,
    )

    assert outcome.counts == VerdictCounts(accepted=1, duplicate=1)
    assert outcome.verdicts[0].replays == Position(0, 1, 17)


def test_a_full_budget_of_marks_raises_the_acceptance_floor_above_what_is_forgotten() -> None:
    block = records(*(usage(number) for number in range(BLOCK_MARKS_MIN)))
    states = folded(block, [record(usage(100, event_us=NOW_US + 1), 100)])

    outcome = fold(
        states,
        [record(usage(1), 101), record(usage(103, event_us=NOW_US + 2), 102)],
        specs=SPECS,
        place=PLACE,
        limits=Limits(marks_max=BLOCK_MARKS_MIN),
    )
    apply(states, outcome)

    assert outcome.dropped_by_budget
    assert outcome.partition is not None
    assert outcome.partition.floor_us == NOW_US + 1
    assert _rulings(outcome) == [(101, VerdictKind.LATE, "floor")]
    assert len(states.marks) == 2


def test_marks_are_dropped_when_their_horizon_has_passed() -> None:
    brief = {POOL: pool(metering=Metering(acceptance_horizon_seconds=90_000))}
    states = folded([record(usage(1), 0)], specs=brief)
    later_us = NOW_US + 90_301 * US_PER_S

    outcome = fold(
        states,
        [record(usage(1, event_us=later_us), 1, stored_us=later_us)],
        specs=brief,
        place=PLACE,
    )

    assert outcome.dropped_blocks == 1
    assert not outcome.dropped_by_budget
    assert outcome.counts == VerdictCounts(accepted=1)


def test_few_marks_grow_one_block_that_is_written_again_under_its_key() -> None:
    states = folded([record(usage(1), 0)], [record(usage(2), 1)])

    outcome = fold(states, [record(usage(3), 2)], specs=SPECS, place=PLACE)
    apply(states, outcome)

    [block] = states.marks.blocks
    assert (block.first_offset, len(block.identities)) == (0, 3)
    assert outcome.marks is not None
    assert restore([(b"d|0|0|1", encode(outcome.marks))]).states.marks == states.marks


def test_judged_through_names_the_last_record_and_the_running_counts() -> None:
    states = folded(records(usage(1), usage(2)))

    outcome = fold(states, [record(b"?", 2)], specs=SPECS, place=PLACE)

    assert outcome.judged is not None
    assert outcome.judged.offset == 2
    assert outcome.judged.counts == VerdictCounts(accepted=2, dead=1)


def test_records_at_or_below_the_position_change_nothing() -> None:
    states = folded(records(usage(1), [usage(2), usage(3)]))

    outcome = fold(states, records(usage(1), [usage(2), usage(3)]), specs=SPECS, place=PLACE)

    assert outcome == Outcome(skipped=3)
