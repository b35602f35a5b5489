"""Overshoot: the bound per dimension, and the excess that was seen."""

from __future__ import annotations

import pytest

from admission.core.staleness import safe_share
from schemas.ledger import AdmitterRecord, TickRecord
from schemas.positions import Version
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.specs import Leases, ServiceClass
from schemas.units import NOTHING, Held, Resources
from streams.core.overshoot import bound, excess, kept_headroom, safe_part, with_safe_shares
from tests.unit.streams_core.pools import entitlement, pool_of

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


def test_what_is_free_takes_up_safe_shares_and_what_nobody_reported() -> None:
    reach, more = Resources(0, 1_000, 14), Resources(0, 200, 1)

    over = bound(
        reach=reach, capacity=CAPACITY, safe=more, unreported=more, reports=(), unheard_ms=0
    )
    above = bound(reach=reach, capacity=reach, safe=more, unreported=more, reports=(), unheard_ms=0)

    assert over == NOTHING
    assert above == Resources(0, 400, 2)


@pytest.mark.parametrize("admitters_max", [1, 2, 3, 16])
def test_static_safe_shares_are_those_that_admission_gives(admitters_max: int) -> None:
    floor = Resources(10, 100, 7)
    for at_home in (True, False):
        part = safe_part(floor, admitters_max=admitters_max, at_home=at_home)

        assert part == safe_share(floor, admitters_max=admitters_max, at_home=at_home)


POOL = pool_of(
    entitlement("g", ServiceClass.GUARANTEED, 7),
    entitlement("h", ServiceClass.GUARANTEED, 5),
    leases=Leases(admitters_max=4),
)
HEARD = Version(1, 1, 5)


@pytest.mark.parametrize(
    ("lost", "slots"),
    [
        pytest.param(None, 1 + 1, id="an even part of each floor"),
        pytest.param(HEARD, 1 + 1, id="also once it has heard which homes it lost"),
        pytest.param(Version(1, 1, 6), 4 + 2, id="perhaps the rest too while it has not"),
    ],
)
def test_the_safe_share_of_one_that_fell_silent(lost: Version | None, slots: int) -> None:
    silent = AdmitterRecord(incarnation="a", alive=False, applied=HEARD)
    record = TickRecord(
        pool="chat",
        version=Version(1, 1, 9),
        at_us=0,
        homes={"g": "b", "h": "b"},
        homes_lost={} if lost is None else {"a": lost},
    )

    (known,) = with_safe_shares([silent], record, POOL)

    assert known.safe is not None
    assert known.safe.slots == slots


def test_a_home_keeps_what_the_others_leave() -> None:
    record = TickRecord(pool="chat", version=HEARD, at_us=0, homes={"g": "a", "h": "b"})
    silent = AdmitterRecord(incarnation="a", alive=False, applied=HEARD)

    (known,) = with_safe_shares([silent], record, POOL)

    assert known.safe is not None
    assert known.safe.slots == 4 + 1


def test_headroom_is_kept_only_where_nobody_may_burst() -> None:
    steady = pool_of(entitlement("g", ServiceClass.GUARANTEED, 4), headroom=17)
    bursting = pool_of(entitlement("e", ServiceClass.ELASTIC, 4), headroom=17)

    assert kept_headroom(steady, uids=["g"], admitters=2) == 1
    assert kept_headroom(steady, uids=["removed"], admitters=2) == 0
    assert kept_headroom(bursting, uids=["e"], admitters=2) == 0


def test_excess_is_what_was_held_and_served_beyond_capacity() -> None:
    over = excess(held=Held(9_999, 1_700, 12), served_tokens_per_s=250, capacity=CAPACITY)

    assert over == Resources(10, 100, 0)
