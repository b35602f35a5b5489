"""Overshoot: the bound per dimension, and the excess that was seen."""

from __future__ import annotations

from schemas.reports import AdmitterReport, EntitlementReport
from schemas.units import NOTHING, Held, Resources
from streams.core.overshoot import bound, excess, safe_shares

CAPACITY = Resources(240, 1_600, 16)


def test_what_is_promised_within_capacity_has_no_bound() -> None:
    reach = Resources(240, 1_000, 16)

    assert bound(reach=reach, capacity=CAPACITY, safe=NOTHING, reports=(), unheard_ms=9_000) == (
        NOTHING
    )


def test_kv_and_slots_are_what_may_be_held_above_capacity() -> None:
    reach = Resources(240, 2_000, 22)

    over = bound(reach=reach, capacity=CAPACITY, safe=Resources(0, 1, 1), reports=(), unheard_ms=0)

    assert over == Resources(0, 401, 7)


def test_throughput_is_in_tokens_for_as_long_as_a_cut_may_go_unheard() -> None:
    over = bound(
        reach=Resources(300, 0, 0), capacity=CAPACITY, safe=NOTHING, reports=(), unheard_ms=1_001
    )

    assert over.tokens_per_s == 61


def test_each_bucket_may_overshoot_by_its_largest_request_and_its_estimates() -> None:
    report = AdmitterReport(
        pool="chat",
        incarnation="a-1",
        url="http://a",
        sequence=1,
        entitlements=(
            EntitlementReport(entitlement="e", largest_request_tokens=500),
            EntitlementReport(entitlement="f", largest_request_tokens=70, estimator_error_tokens=8),
        ),
    )

    over = bound(
        reach=CAPACITY, capacity=CAPACITY, safe=NOTHING, reports=[report, report], unheard_ms=0
    )

    assert over == Resources(2 * 578, 0, 0)


def test_static_safe_shares_of_the_silent_sum_to_the_floor_at_most() -> None:
    floors = {"g": Resources(10, 100, 7)}

    home = safe_shares(floors, last_homes=[("g",)], admitters_max=4)
    other = safe_shares(floors, last_homes=[()], admitters_max=4)
    everybody = safe_shares(floors, last_homes=[("g",), (), (), ()], admitters_max=4)

    assert home == Resources(4, 25, 4)
    assert other == Resources(2, 25, 1)
    assert everybody == floors["g"]


def test_excess_is_what_was_held_and_served_beyond_capacity() -> None:
    over = excess(held=Held(9_999, 1_700, 12), served_tokens_per_s=250, capacity=CAPACITY)

    assert over == Resources(10, 100, 0)
