"""What one fold makes of events: totals, minutes, verdicts, rollups, forwards, increments."""

from __future__ import annotations

import msgspec
import pytest

from schemas.partitioning import partition_of
from schemas.positions import Position
from schemas.specs import Metering
from schemas.units import US_PER_S
from schemas.usage import FORWARDED_HEADER, REPLAYED_HEADER, UsageEvent, encode_binary
from schemas.verdicts import DeadReason, Verdict, VerdictCounts, VerdictKind
from streams.core.judge import Bound, Record
from streams.core.ledger import fold
from streams.core.letters import ORIGINAL_BYTES_MAX
from streams.core.outcome import Outcome, Place, States, apply
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


def test_the_same_event_in_both_cloudevents_modes_is_one_event() -> None:
    value, headers = encode_binary(usage(1))

    outcome = fold(
        folded(records(usage(1))),
        [Record(1, NOW_US, b"key", value, headers)],
        specs=SPECS,
        place=PLACE,
    )

    assert outcome.counts == VerdictCounts(duplicate=1)


def test_the_same_id_from_another_source_is_another_event() -> None:
    outcome = once(usage(1, source="a"), usage(1, source="b"))

    assert outcome.counts == VerdictCounts(accepted=2)


def test_an_event_older_than_the_acceptance_horizon_is_late_and_keeps_its_bytes() -> None:
    old = usage(1, event_us=NOW_US - 86_401 * US_PER_S)

    outcome = once(old)

    assert _rulings(outcome) == [(0, VerdictKind.LATE, "horizon")]
    assert outcome.verdicts[0].original == record(old).value
    assert outcome.totals == ()


def test_an_event_whose_minute_is_closed_counts_in_the_totals_and_orders_its_window() -> None:
    event_us = NOW_US - 3_600 * US_PER_S

    outcome = once(usage(1, output=9, event_us=event_us))

    assert [entry.totals.tokens.total for entry in outcome.totals] == [9]
    assert outcome.minutes == ()
    [order] = outcome.rollups
    assert order.order
    assert order.window_start_us == event_us - event_us % (60 * US_PER_S)
    assert order.version == Position(0, HOME, 0)


def test_a_minute_is_evicted_once_its_lateness_has_passed() -> None:
    states = folded([record(usage(1), 0)])
    later_us = NOW_US + 661 * US_PER_S

    outcome = fold(
        states,
        [record(usage(2, event_us=later_us), 1, stored_us=later_us)],
        specs=SPECS,
        place=PLACE,
    )
    apply(states, outcome)

    assert [key[2] for key in outcome.closed_minutes] == [NOW_US - NOW_US % (60 * US_PER_S)]
    assert len(states.minutes) == 1
    assert total(states).total == 10


def test_rollups_are_the_absolute_values_of_the_minutes_that_were_touched() -> None:
    states = folded([record(usage(1, output=5), 0)])

    outcome = fold(states, [record(usage(2, output=7, demoted=True), 1)], specs=SPECS, place=PLACE)

    [rollup] = outcome.rollups
    assert (rollup.tokens.output_tokens, rollup.events, rollup.requests) == (12, 2, 2)
    assert rollup.demoted_tokens == 7
    assert (rollup.tenant, rollup.model) == ("tenant-0", "model")
    assert rollup.version == Position(0, HOME, 1)


def test_a_partial_event_adds_tokens_and_no_request() -> None:
    outcome = once(usage(1, final=False))

    assert [(entry.totals.events, entry.totals.requests) for entry in outcome.totals] == [(1, 0)]


def test_served_tokens_are_weighted_by_cost_and_know_their_production_time() -> None:
    outcome = once(usage(1, output=5))

    [increment] = outcome.increments
    assert (increment.pool, increment.entitlement) == (POOL, "e0")
    assert (increment.cost_tokens, increment.duration_us) == (5, US_PER_S)


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
        [Record(0, NOW_US, forward.key, forward.value, forward.headers)],
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
    states = folded([record(usage(1), 0)], [record(usage(2, event_us=NOW_US + 1), 1)])

    outcome = fold(
        states,
        [record(usage(1), 2), record(usage(3, event_us=NOW_US + 2), 3)],
        specs=SPECS,
        place=PLACE,
        marks_max=1,
    )
    apply(states, outcome)

    assert outcome.dropped_by_budget
    assert outcome.partition is not None
    assert outcome.partition.floor_us == NOW_US + 1
    assert _rulings(outcome) == [(2, VerdictKind.LATE, "floor")]
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
