"""The usage log knows what the ledger must count, whatever happens to events on their way."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from schemas.specs import Metering
from schemas.units import NO_TOKENS, US_PER_S, TokenCounts
from simulation.policy import Usage
from simulation.pools.faults import HARSH, Faults, UsageFaults
from simulation.pools.usage_log import UsageLog
from tests.unit.simulation.pools.small_world import SmallWorld, small_pool

ALWAYS = 1_000_000
LATER_US = 60 * US_PER_S


def usage(number: int, *, tokens: int = 5, end_us: int = US_PER_S) -> Usage:
    return Usage(
        id=f"e{number}",
        source="gateway",
        sequence=number,
        entitlement="spot",
        request_id="r",
        counts=TokenCounts(output_tokens=tokens),
        start_us=0,
        end_us=end_us,
        final=True,
    )


def log_of(faults: UsageFaults) -> UsageLog:
    return UsageLog(small_pool(), faults=faults, random=Random("log"))


def accepted(log: UsageLog) -> int:
    log.read(log.home, after=-1, now_us=LATER_US, most=1_000)
    tally = log.accepted_through(log.length(log.home) - 1)
    return tally.tokens.get("spot", NO_TOKENS).output_tokens


def test_an_event_that_was_stored_twice_must_be_counted_once() -> None:
    log = log_of(UsageFaults(repeated_ppm=ALWAYS))
    for number in range(10):
        log.send(usage(number), now_us=US_PER_S)

    assert accepted(log) == 50
    assert log.length(log.home) == 20


def test_an_id_that_was_used_before_with_other_amounts_counts_nothing() -> None:
    log = log_of(UsageFaults(conflict_ppm=ALWAYS))
    log.send(usage(1), now_us=US_PER_S)

    assert accepted(log) == 5
    assert log.length(log.home) == 2


def test_a_corrupted_event_counts_nothing() -> None:
    log = log_of(UsageFaults(corrupted_ppm=ALWAYS))
    log.send(usage(1), now_us=US_PER_S)

    assert accepted(log) == 0
    assert log.length(log.home) == 1


def test_a_misplaced_event_counts_once_it_was_forwarded() -> None:
    log = log_of(UsageFaults(misplaced_ppm=ALWAYS, binary_ppm=500_000))
    for number in range(20):
        log.send(usage(number), now_us=US_PER_S)

    assert accepted(log) == 0

    for record in log.read(1 - log.home, after=-1, now_us=LATER_US, most=100):
        assert record.value is not None
        log.forward(log.home, record.value, record.headers, now_us=LATER_US)

    assert accepted(log) == 100


def test_the_tally_can_go_back_to_where_an_earlier_ledger_stands() -> None:
    log = log_of(UsageFaults())
    for number in range(10):
        log.send(usage(number), now_us=number * US_PER_S)
    log.read(log.home, after=-1, now_us=LATER_US, most=100)

    assert log.accepted_through(9).events == {"spot": 10}
    assert log.accepted_through(3).events == {"spot": 4}
    assert log.accepted_through(9).events == {"spot": 10}


def test_old_records_are_dropped_once_they_were_folded_and_offsets_stay() -> None:
    log = UsageLog(small_pool(), faults=UsageFaults(), random=Random("kept"), records_kept=10)
    for number in range(25):
        log.send(usage(number), now_us=number)
    log.read(log.home, after=-1, now_us=LATER_US, most=1)
    length = log.length(log.home)

    log.forget(log.home, through=10)
    with pytest.raises(AssertionError):
        log.read(log.home, after=0, now_us=LATER_US, most=1)
    first = log.read(log.home, after=10, now_us=LATER_US, most=1)[0]

    assert (first.offset, log.length(log.home)) == (11, length)


def test_events_beyond_a_short_horizon_are_late_and_the_ledger_agrees() -> None:
    pool = msgspec.structs.replace(small_pool(), metering=Metering(acceptance_horizon_seconds=5))
    world = SmallWorld("late", pool=pool, faults=Faults(usage=HARSH.usage), rate_per_s=8)

    world.run(60, arrivals_until_s=30)

    assert sum(counts.late for counts in world.pools.verdict_counts) > 0
    ledger = world.pools.ledger
    assert ledger is not None
    assert {uid: each.tokens for uid, each in ledger.items()} == world.pools.expected.tokens
