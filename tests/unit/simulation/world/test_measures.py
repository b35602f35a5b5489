"""Measures: what is counted, and over which time."""

from dataclasses import replace

import pytest

from schemas.specs import ServiceClass
from schemas.units import US_PER_S
from simulation.mapping import MappingRule, TenantMapping
from simulation.policy import Ask, Denied, Granted, Priority
from simulation.world.measures import (
    Outcome,
    RequestRecord,
    latencies_us,
    refused_attempts_ppm,
    throttled_ppm,
    ttfts_from_admission_us,
    ttfts_us,
)
from simulation.world.world import World
from tests.unit.simulation.worlds import (
    PAPER_POOL,
    SERVICE_US,
    Scripted,
    arrivals,
    grant,
    scenario,
)


def record(
    *, refusals: int = 0, admitted_us: int | None = 300, outcome: Outcome = Outcome.COMPLETED
) -> RequestRecord:
    return RequestRecord(
        number=1,
        first_attempt_us=100,
        ended_us=900,
        outcome=outcome,
        attempts=refusals + (admitted_us is not None),
        refusals=refusals,
        admitted_us=admitted_us,
        first_token_us=None if admitted_us is None else 500,
    )


REFUSED = record(refusals=3, admitted_us=None, outcome=Outcome.GAVE_UP)


def test_time_to_first_token_counts_from_the_first_attempt_and_from_admission() -> None:
    records = [record(refusals=1), REFUSED]

    assert ttfts_us(records) == [400]
    assert ttfts_from_admission_us(records) == [200]
    assert latencies_us(records) == [800]


def test_an_aborted_request_has_no_latency_but_a_first_token() -> None:
    aborted = [record(outcome=Outcome.ABORTED)]

    assert (latencies_us(aborted), ttfts_us(aborted)) == ([], [400])


def test_throttling_is_told_by_unique_request_and_by_attempt() -> None:
    records = [record(), record(refusals=1), REFUSED, record()]

    assert throttled_ppm(records) == 500_000
    assert refused_attempts_ppm(records) == 4 * 1_000_000 // 7
    assert (throttled_ppm([]), refused_attempts_ppm([])) == (0, 0)


def test_utilisation_is_busy_time_over_available_time_in_a_window() -> None:
    traffic = arrivals(*[0.0] * 8)

    measures = World(scenario(traffic), Scripted()).run()

    assert measures.utilisation_ppm(0, 8 * US_PER_S) == 500_000
    assert measures.utilisation_ppm(10 * US_PER_S, 20 * US_PER_S) == 0
    assert measures.utilisation_ppm(0, 10 * US_PER_S) == 8 * SERVICE_US * 1_000_000 // (
        16 * 10 * US_PER_S
    )


def test_series_are_sampled_before_what_happens_at_the_same_time() -> None:
    traffic = arrivals(*[1.0] * 20)

    measures = World(scenario(traffic), Scripted()).run()

    at_1, at_2 = measures.samples[1], measures.samples[2]
    assert (at_1.at_us, at_1.running, at_1.waiting) == (US_PER_S, 0, 0)
    assert (at_2.running, at_2.waiting, at_2.lines["tenant"].in_flight) == (16, 4, 20)
    assert (at_2.lines["tenant"].attempts, at_2.lines["tenant"].refusals) == (20, 0)
    assert measures.samples[30].lines["tenant"].in_flight == 0
    assert measures.waiting_max == 4
    assert len(measures.samples) == 121


def test_samples_lie_further_apart_in_a_world_that_is_too_long_for_them() -> None:
    long = replace(scenario(()), duration_us=40_000 * US_PER_S, drain_us=0)

    assert len(World(long, Scripted()).run().samples) == 20_001


def test_a_policy_that_has_debts_and_weights_is_sampled_for_them() -> None:
    class WithPriorities(Scripted):
        def priorities(self) -> dict[str, Priority]:
            return {"tenant": Priority(weight_ppm=5, debt_ppm=-3)}

    measures = World(scenario(()), WithPriorities()).run()

    assert measures.samples[3].lines["tenant"].priority == Priority(weight_ppm=5, debt_ppm=-3)


def test_records_are_bounded_but_counts_are_not() -> None:
    few = replace(scenario(arrivals(*[0.0] * 5)), records_max=2)

    measures = World(few, Scripted()).run()

    tally = measures.tallies["tenant"]
    assert (len(tally.records), measures.records_dropped) == (2, 3)
    assert tally.outcomes == {Outcome.COMPLETED: 5}


def test_requests_that_are_nobody_s_are_left_out_and_counted() -> None:
    traffic = [*arrivals(0), *arrivals(1, tenant="stranger"), *arrivals(2)]

    measures = World(scenario(traffic), Scripted()).run()

    assert (measures.requests, measures.left_out) == (2, 1)


def test_tenants_are_mapped_by_the_rule_that_is_named() -> None:
    traffic = arrivals(0, 0, 0, tenant="whoever")
    dealt = TenantMapping(rule=MappingRule.BY_SHARE, weights={"guaranteed-a": 2, "spot-b": 1})

    measures = World(
        replace(scenario(traffic, in_pool=PAPER_POOL), mapping=dealt), Scripted()
    ).run()

    assert {uid: tally.requests for uid, tally in measures.tallies.items()} == {
        "guaranteed-a": 2,
        "spot-b": 1,
        "guaranteed-c": 0,
    }
    assert [tally.uid for tally in measures.of(ServiceClass.GUARANTEED)] == [
        "guaranteed-a",
        "guaranteed-c",
    ]


@pytest.mark.parametrize("demoted", [True, False])
def test_demotions_are_counted(*, demoted: bool) -> None:
    def answer(ask: Ask, door: int, now_us: int) -> Granted | Denied:
        return replace(grant(ask), demoted=demoted, served_class=ServiceClass.SPOT)

    measures = World(scenario(arrivals(0)), Scripted(on_reserve=answer)).run()

    assert measures.tallies["tenant"].demoted == demoted
    assert measures.tallies["tenant"].records[0].demoted == demoted
