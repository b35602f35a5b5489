"""The gate: reservations from asking to their end, told in sentences."""

import pytest

from admission.core.answers import Admitted, AdmittedDemoted, Closed, Renewed, Unknown
from admission.core.gate import Limits
from admission.core.journal import Journal
from schemas.decisions import Decision, DecisionKind
from schemas.pools import Weights
from schemas.reservations import SettleBody, SettlementResult
from schemas.specs import ServiceClass
from schemas.units import NOTHING, NOTHING_HELD, PPM, Held, Resources
from tests.unit.admission.pools import FLOOR, POOL, World, entitlement, pool, state

COMMON = Resources(1_000, 100_000, 5)
ELASTIC = entitlement("elastic", ServiceClass.ELASTIC)
USED = SettleBody(input_tokens=10, output_tokens=4)


def world(uid: str = "guaranteed", *, common: Resources = NOTHING, **share: int) -> World:
    """One entitlement with a floor here, or with less in some dimension."""
    here = World()
    here.share({uid: FLOOR if not share else Resources(**share)}, common=common)
    return here


def settle(here: World, reservation_id: str, body: SettleBody = USED) -> SettlementResult:
    answer = here.gate.settle(reservation_id, body, now=here.now)
    assert isinstance(answer, Closed), answer
    return answer.result


def held(here: World, uid: str = "guaranteed") -> Held:
    return here.gate.desks[POOL].accounts[uid].held


def level(here: World, uid: str = "guaranteed") -> int:
    return here.gate.desks[POOL].accounts[uid].share.level_tokens(here.now_us)


def noted(here: World) -> list[Decision]:
    here.gate.journal.close_tick(POOL, at_us=here.now_us)
    return here.gate.journal.take(100)


def test_a_reservation_holds_the_expected_tokens_and_the_worst_case_of_kv() -> None:
    here = world()
    reservation = here.admitted("guaranteed", input_tokens=30, max_tokens=20, n=2)

    assert (reservation.reserved_tokens, reservation.kv_bytes, reservation.slots) == (70, 700, 2)
    assert held(here) == Held(70, 700, 2)
    assert level(here) == 70


def test_throughput_is_weighted_and_kv_is_not() -> None:
    here = World(pool(ELASTIC, weights=Weights(PPM, PPM // 10, PPM, 2 * PPM)))
    here.share({"elastic": FLOOR})
    reservation = here.admitted("elastic", input_tokens=30, cached_input_tokens=20, max_tokens=20)

    assert reservation.reserved_tokens == 10 + 2 + 40
    assert reservation.kv_bytes == 500


def test_settling_frees_what_was_held_and_charges_what_was_used() -> None:
    here = world()
    result = settle(here, here.admitted("guaranteed").reservation_id)

    assert (result.first, result.ended, result.charged_tokens) == (True, "settled", 14)
    assert held(here) == NOTHING_HELD
    assert level(here) == 14


def test_settling_twice_changes_nothing() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    settle(here, reservation.reservation_id)
    again = settle(here, reservation.reservation_id, SettleBody(output_tokens=10_000))

    assert (again.first, again.charged_tokens) == (False, 14)
    assert level(here) == 14
    assert here.report().entitlements[0].settled == 1


def test_a_release_takes_the_charge_back() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    answer = here.gate.release(reservation.reservation_id, now=here.now)

    assert isinstance(answer, Closed)
    assert answer.result.ended == "released"
    assert (held(here), level(here)) == (NOTHING_HELD, 0)


def test_settling_what_was_released_charges_nothing() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    here.gate.release(reservation.reservation_id, now=here.now)
    result = settle(here, reservation.reservation_id)

    assert (result.first, result.ended, result.charged_tokens) == (False, "released", 0)


def test_a_reservation_that_nobody_renews_expires_and_keeps_its_charge() -> None:
    here = world(tokens_per_s=1, kv_bytes=100_000, slots=10)
    here.admitted("guaranteed")
    here.pass_s(15)
    here.gate.expire(here.now)

    assert held(here) == NOTHING_HELD
    assert level(here) == 20 - 15
    assert [each.kind for each in noted(here)] == [DecisionKind.EXPIRED, DecisionKind.ADMITTED]


def test_usage_that_arrives_after_expiry_is_charged_once_and_frees_nothing() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    here.pass_s(20)
    first = settle(here, reservation.reservation_id, SettleBody(output_tokens=120))
    again = settle(here, reservation.reservation_id, SettleBody(output_tokens=120))

    assert (first.first, first.ended, first.late, first.charged_tokens) == (
        False,
        "expired",
        True,
        120,
    )
    assert again == first
    assert level(here) == 100  # 120 used, 20 of them charged when it was reserved
    assert held(here) == NOTHING_HELD
    assert here.report().entitlements[0].late_settled == 1


def test_renewing_extends_its_life() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    renewals = []
    for _ in range(3):
        here.pass_s(10)
        answer = here.gate.renew(reservation.reservation_id, output_tokens=1, now=here.now)
        assert isinstance(answer, Renewed)
        renewals.append((answer.renewal.verdict, answer.renewal.expires_in_ms))

    assert held(here).slots == 1
    assert renewals == [("continue", 15_000)] * 3


def test_a_gateway_that_cannot_renew_gets_time_for_the_slowest_decoding() -> None:
    reservation = world().admitted("guaranteed", max_tokens=600, can_renew=False)

    assert reservation.renew_in_ms == 0
    assert reservation.expires_in_ms == 15_000 + 60_000


def test_renewing_what_has_ended_says_so() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    here.pass_s(20)
    answer = here.gate.renew(reservation.reservation_id, output_tokens=0, now=here.now)

    assert answer == Unknown("the reservation has ended: expired")


def test_the_same_request_gets_the_same_reservation_while_it_is_open() -> None:
    here = world()
    first = here.admitted("guaranteed", request_id="r")
    again = here.admitted("guaranteed", request_id="r")
    settle(here, first.reservation_id)
    later = here.admitted("guaranteed", request_id="r")

    assert again.reservation_id == first.reservation_id
    assert later.reservation_id != first.reservation_id
    assert held(here).slots == 1


def test_a_demoted_request_that_is_asked_again_is_still_demoted() -> None:
    here = world(common=COMMON)
    for _ in range(FLOOR.slots):
        here.admitted("guaranteed")
    first, again = (
        here.reserve("guaranteed", allow_demotion=True, request_id="r") for _ in range(2)
    )

    assert isinstance(first, AdmittedDemoted)
    assert isinstance(again, AdmittedDemoted)
    assert first.reservation.reservation_id == again.reservation.reservation_id


def test_a_refusal_takes_nothing_and_counts_as_unmet_demand() -> None:
    here = world(tokens_per_s=1_000, kv_bytes=100_000, slots=0)
    before = level(here)
    refusal = here.refused("guaranteed", request_id="r")
    line = here.report().entitlements[0]

    assert refusal.ticket
    assert (held(here), level(here)) == (NOTHING_HELD, before)
    assert line.pending == Resources(20, 200, 1)
    assert (line.refused, line.attempts) == ({refusal.reason: 1}, {refusal.reason: 1})


def test_retries_of_one_request_count_once() -> None:
    here = world(tokens_per_s=1_000, kv_bytes=100_000, slots=0)
    for _ in range(3):
        refusal = here.refused("guaranteed", request_id="r")
        here.pass_us(refusal.retry_after_ms * 1_000)
    line = here.report().entitlements[0]

    assert (line.refused, line.attempts) == ({refusal.reason: 1}, {refusal.reason: 3})
    assert line.pending.slots == 1


def test_unmet_demand_lapses_two_ticks_after_its_retry_after() -> None:
    here = world(tokens_per_s=1_000, kv_bytes=100_000, slots=0)
    refusal = here.refused("guaranteed", request_id="r")
    here.pass_us((refusal.retry_after_ms + 2_000) * 1_000 - 1)
    before = here.report().entitlements[0].pending
    here.pass_us(1)
    after = here.report().entitlements[0].pending

    assert (before.slots, after.slots) == (1, 0)


def test_unmet_demand_ends_when_the_request_is_admitted() -> None:
    here = world(tokens_per_s=1_000, kv_bytes=100_000, slots=1)
    other = here.admitted("guaranteed")
    here.refused("guaranteed", request_id="r")
    settle(here, other.reservation_id)
    here.admitted("guaranteed", request_id="r")

    assert here.report().entitlements[0].pending == NOTHING


def test_a_ticket_of_another_admitter_is_withdrawn_until_it_would_have_lapsed_there() -> None:
    there = World(incarnation="b-1")
    there.share({"guaranteed": Resources(1_000, 100_000, 0)}, home="b-1", alive={"b-1": True})
    refusal = there.refused("guaranteed", request_id="r")
    here = world()
    here.now_us = there.now_us + 100_000
    here.share({"guaranteed": FLOOR}, settle_s=0, tick=2)
    here.admitted("guaranteed", request_id="r", ticket=refusal.ticket)
    before = here.report().entitlements[0].withdrawn
    here.pass_us((refusal.retry_after_ms + 2_000) * 1_000 - 100_000)
    after = here.report().entitlements[0].withdrawn

    assert (before, after) == (Resources(20, 200, 1), NOTHING)


@pytest.mark.parametrize("ticket", ["", "nonsense", "t1.AAAA.BBBB"])
def test_a_ticket_that_is_none_changes_nothing(ticket: str) -> None:
    here = world()
    here.admitted("guaranteed", ticket=ticket)

    assert here.report().entitlements[0].withdrawn == NOTHING


def test_a_request_that_can_never_fit_is_impossible() -> None:
    refusal = world().refused("guaranteed", input_tokens=1_000_000)

    assert (refusal.reason, refusal.retry_after_ms, refusal.ticket) == ("impossible", 0, "")


def test_before_any_state_has_echoed_a_report_there_is_no_state() -> None:
    here = World()
    assert here.follow(state(here.spec, shares={"guaranteed": {"a-1": FLOOR}}))

    assert here.refused("guaranteed").reason == "no_state"


def test_a_lower_version_is_ignored() -> None:
    here = world()
    older = state(here.spec, shares={}, tick=1)

    assert here.follow(older) is False
    here.admitted("guaranteed")


def test_a_demoted_request_is_served_as_spot_and_leaves_the_floor_alone() -> None:
    here = world(common=COMMON)
    for _ in range(FLOOR.slots):
        here.admitted("guaranteed")
    answer = here.reserve("guaranteed", allow_demotion=True)
    assert isinstance(answer, AdmittedDemoted)
    here.pass_s(20)
    inside = here.reserve("guaranteed")

    assert answer.reservation.served_class is ServiceClass.SPOT
    assert isinstance(inside, Admitted)


def test_demoted_requests_do_not_fill_the_floor() -> None:
    here = world(common=COMMON)
    ids = [here.admitted("guaranteed").reservation_id for _ in range(FLOOR.slots)]
    demoted = here.admitted("guaranteed", allow_demotion=True)
    for each in ids:
        settle(here, each)
    again = [here.admitted("guaranteed") for _ in range(FLOOR.slots)]

    assert demoted.demoted
    assert not any(each.demoted for each in again)
    assert here.report().entitlements[0].held_in_common.slots == 1


def test_a_demoted_request_leaves_the_tokens_of_its_own_ceiling_alone() -> None:
    few = Resources(100, 100_000, 1)
    here = World(pool(entitlement("elastic", ServiceClass.ELASTIC, baseline=few, ceiling=few)))
    here.share({"elastic": few}, common=Resources(100_000, 100_000, 10))
    own = here.admitted("elastic")
    for _ in range(5):
        assert here.admitted("elastic", input_tokens=900, allow_demotion=True).demoted
    settle(here, own.reservation_id)

    assert not here.admitted("elastic", allow_demotion=True).demoted


@pytest.mark.parametrize("settle_s", [0, 60])
def test_the_first_request_of_an_idle_pool_is_never_refused(settle_s: int) -> None:
    here = World()
    here.share({"guaranteed": FLOOR}, settle_s=settle_s)

    assert here.admitted("guaranteed", max_tokens=5_000).slots == 1


def test_in_shadow_mode_a_demotion_is_noted_and_the_request_served_in_its_class() -> None:
    here = world(common=COMMON)
    here.gate.shadow = True
    for _ in range(FLOOR.slots):
        here.admitted("guaranteed")
    reservation = here.admitted("guaranteed", allow_demotion=True)
    demoted = [each for each in noted(here) if each.kind is DecisionKind.DEMOTED]

    assert (reservation.demoted, reservation.served_class) == (False, ServiceClass.GUARANTEED)
    assert [each.shadow for each in demoted] == [True]


def test_shadow_refusals_are_counted_by_reason() -> None:
    here = World()
    here.gate.shadow = True
    here.share({"guaranteed": Resources(1_000, 100_000, 0)})
    here.admitted("guaranteed")
    here.admitted("guaranteed", input_tokens=1_000_000)
    counters = here.gate.desks[POOL].accounts["guaranteed"].counters

    assert counters.shadow_refused == {"share_exhausted": 1, "impossible": 1}
    assert counters.refused == {}


def test_in_shadow_mode_a_refusal_is_noted_and_the_request_admitted() -> None:
    here = World(pool(shadow=True))
    here.share({"guaranteed": Resources(1_000, 100_000, 0)})
    reservation = here.admitted("guaranteed")
    refused = [each for each in noted(here) if each.kind is DecisionKind.REFUSED]

    assert reservation.shadow_refusal == "share_exhausted"
    assert [each.shadow for each in refused] == [True]
    assert here.report().entitlements[0].pending == NOTHING


def test_the_youngest_preemptible_request_goes_when_a_state_cuts_what_they_use() -> None:
    here = World()
    here.share({}, common=Resources(1_000, 100_000, 2))
    ids = [here.admitted("preemptible").reservation_id for _ in range(2)]
    here.share({}, common=Resources(1_000, 100_000, 1), tick=2, settle_s=0)
    answers = [here.gate.renew(each, output_tokens=0, now=here.now) for each in ids]
    verdicts = [each.renewal.verdict for each in answers if isinstance(each, Renewed)]

    assert verdicts == ["continue", "evict"]


def test_an_evicted_request_that_does_not_stop_expires_at_its_deadline() -> None:
    here = World()
    here.share({}, common=Resources(1_000, 100_000, 1))
    reservation = here.admitted("preemptible")
    here.share({}, tick=2, settle_s=0)
    answer = here.gate.renew(reservation.reservation_id, output_tokens=0, now=here.now)
    assert isinstance(answer, Renewed)
    here.pass_us(answer.renewal.evict_in_ms * 1_000)
    here.gate.expire(here.now)

    assert answer.renewal.evict_in_ms == 5_000
    assert held(here, "preemptible") == NOTHING_HELD


def test_when_lease_and_hold_are_over_what_is_above_the_safe_share_is_evicted() -> None:
    here = world("elastic")
    reservation = here.admitted("elastic")
    verdicts = []
    for _ in range(4):
        here.pass_s(10)
        answer = here.gate.renew(reservation.reservation_id, output_tokens=0, now=here.now)
        assert isinstance(answer, Renewed)
        verdicts.append(answer.renewal.verdict)

    assert verdicts == ["continue", "continue", "continue", "evict"]


def test_the_table_is_bounded() -> None:
    here = World(limits=Limits(open_max=1))
    here.share({"guaranteed": FLOOR})
    here.admitted("guaranteed")

    assert here.refused("guaranteed").reason == "contended"


def test_a_leaving_admitter_takes_nothing_new_and_ends_what_it_has() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    here.gate.leaving = True

    assert here.refused("guaranteed").reason == "no_state"
    assert settle(here, reservation.reservation_id).first


def test_what_a_removed_entitlement_holds_can_still_be_settled() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    here.gate.follow_pool(pool(ELASTIC), now=here.now)
    result = settle(here, reservation.reservation_id)
    here.gate.follow_pool(pool(ELASTIC), now=here.now)

    assert result.first
    assert list(here.gate.desks[POOL].accounts) == ["elastic"]


def test_a_removed_pool_expires_what_it_had_open() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    here.gate.forget_pool(POOL, now=here.now)

    assert len(here.gate.reservations) == 0
    assert here.gate.settle(reservation.reservation_id, USED, now=here.now) == Unknown()


def test_the_journal_drops_what_does_not_fit_and_says_how_much() -> None:
    journal = Journal("a-1", queue_max=1)
    for _ in range(3):
        journal.note(DecisionKind.REFUSED, at_us=0, pool=POOL, entitlement="x")
    (only,) = journal.take(10)

    assert (only.id, only.dropped) == ("a-1/1", 2)


def test_admits_are_noted_as_one_count_per_tick() -> None:
    here = world()
    for _ in range(3):
        here.admitted("guaranteed")
    decisions = noted(here)

    assert [(each.kind, each.count) for each in decisions] == [(DecisionKind.ADMITTED, 3)]
    assert noted(here) == []
