"""Who makes room: the fewest, of equals the youngest; who is told, when, and how it ends."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from admission.core.answers import Admitted, Refused, Renewed
from admission.core.eviction import Eviction, Space, gone_in_ms, victims
from admission.core.reservations import Open
from schemas.decisions import Decision, DecisionKind
from schemas.reservations import Evicting, Renewal, Reservation, SettleBody
from schemas.specs import ServiceClass
from schemas.units import NOTHING, NOTHING_HELD, Held, Resources
from tests.unit.admission.pools import POOL, World, entitlement, pool

WIDE = 1_000_000
FLOOR = Resources(WIDE, 10_000, 4)
SPEC = pool(
    entitlement("guaranteed", ServiceClass.GUARANTEED, baseline=FLOOR),
    entitlement("elastic", ServiceClass.ELASTIC, baseline=FLOOR),
    entitlement("spot", ServiceClass.SPOT),
    entitlement("preemptible", ServiceClass.PREEMPTIBLE),
)


def item(number: int, slots: int, kv_bytes: int) -> Open:
    return Open(
        number=number,
        reservation_id=f"r{number}",
        pool=POOL,
        entitlement="preemptible",
        tokens=1,
        kv_bytes=kv_bytes,
        slots=slots,
        output_tokens=1,
        max_tokens=1,
        served_class=ServiceClass.PREEMPTIBLE,
        demoted=False,
        in_common=True,
        started_us=number,
        expires_us=15_000_000,
        ttl_ms=15_000,
        renew_ms=5_000,
    )


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        pytest.param([(1, 10), (1, 10)], Space(1, 10), [2], id="of equals the youngest"),
        pytest.param([(1, 90), (1, 10)], Space(1, 50), [1], id="an old one that is enough alone"),
        pytest.param([(1, 60), (1, 60), (1, 60)], Space(2, 100), [3, 2], id="two where one is not"),
        pytest.param([(4, 1), (1, 1), (1, 1)], Space(3, 0), [1], id="one of four slots, not three"),
        pytest.param([(1, 10)], Space(2, 10), [], id="nobody where all are not enough"),
        pytest.param([(1, 10)], Space(0, 0), [], id="nobody for nothing"),
        pytest.param([(1, 10), (1, 10)], Space(-3, 5), [2], id="only KV is short"),
        pytest.param([(2, 10), (1, 99), (2, 10)], Space(2, 99), [3, 2], id="both dimensions"),
    ],
)
def test_victims(held: list[tuple[int, int]], wanted: Space, expected: list[int]) -> None:
    """Numbered from 1, the oldest first."""
    items = [item(number, *each) for number, each in enumerate(held, start=1)]

    assert [each.number for each in victims(items[::-1], wanted=wanted)] == expected


def test_one_that_was_not_told_yet_is_gone_a_grace_after_its_next_renewal() -> None:
    waiting = item(1, 1, 10)
    waiting.renewed_us = 2_000_000

    assert gone_in_ms(waiting, grace_s=5, now_us=3_000_000) == 4_000 + 5_000
    waiting.evict_us = 4_500_000
    assert gone_in_ms(waiting, grace_s=5, now_us=3_000_000) == 1_500


def full_of_preemptible(*, slots: int = 2, common_slots: int = 2) -> World:
    """A floor of four slots, all lent; ``slots`` preemptible requests run in the common part."""
    here = World(SPEC)
    give(here, grant=0, common_slots=common_slots)
    for number in range(slots):
        here.admitted("preemptible", request_id=f"p{number}")
    return here


def give(here: World, *, grant: int, common_slots: int, tick: int = 1, settle_s: int = 60) -> None:
    granted = Resources(WIDE, grant * 2_500, grant)
    here.share(
        {"guaranteed": FLOOR},
        grants={"guaranteed": granted},
        common=Resources(WIDE, WIDE, common_slots),
        tick=tick,
        settle_s=settle_s,
    )


def renewed(here: World, reservation: Reservation) -> Renewal:
    answer = here.gate.renew(reservation.reservation_id, output_tokens=0, now=here.now)
    assert isinstance(answer, Renewed)
    return answer.renewal


def evicted(here: World) -> list[Decision]:
    return [each for each in here.gate.journal.take(100) if each.kind is DecisionKind.EVICTED]


def test_what_a_granted_part_leaves_idle_is_lent_at_once_and_no_more() -> None:
    here = World(SPEC)
    give(here, grant=2, common_slots=1)
    running = here.admitted("guaranteed")
    here.admitted("spot")
    here.admitted("spot")

    assert here.refused("spot").reason == "contended"
    here.gate.release(running.reservation_id, now=here.now)
    here.admitted("spot")


def test_what_is_never_lent_stays_free_while_it_is_idle() -> None:
    reserved, *others = SPEC.entitlements.values()
    here = World(pool(replace(reserved, lendable=NOTHING), *others))
    give(here, grant=2, common_slots=1)
    here.admitted("spot")

    assert here.refused("spot").reason == "contended"


def test_a_request_inside_its_floor_calls_lent_room_back() -> None:
    here = full_of_preemptible()
    answer = here.reserve("guaranteed")

    assert isinstance(answer, Admitted)
    assert answer.eviction is not None
    youngest = here.gate.reservations.of_request(POOL, "preemptible", "p1")
    assert youngest is not None
    assert answer.eviction == Eviction((youngest.reservation_id,), 1, 200, 10_000)
    assert answer.reservation.evicting == Evicting(requests=1, slots=1, kv_bytes=200)


def test_nobody_goes_while_there_is_room_for_both() -> None:
    here = full_of_preemptible(slots=2, common_slots=3)
    answer = here.reserve("guaranteed")

    assert isinstance(answer, Admitted)
    assert answer.eviction is None


def test_nobody_goes_for_what_is_granted() -> None:
    here = full_of_preemptible(slots=1)
    give(here, grant=1, common_slots=1, tick=2, settle_s=0)
    first, second = here.reserve("guaranteed"), here.reserve("guaranteed")

    assert isinstance(first, Admitted)
    assert isinstance(second, Admitted)
    assert first.eviction is None
    assert second.eviction is not None


def test_who_is_going_already_counts_as_free_once() -> None:
    here = full_of_preemptible()
    answers = [here.reserve("guaranteed") for _ in range(3)]
    ids = [
        each.eviction.reservation_ids if each.eviction else ()
        for each in answers
        if isinstance(each, Admitted)
    ]

    assert [len(each) for each in ids] == [1, 1, 0]
    assert ids[0] != ids[1]


def test_a_higher_class_that_finds_no_room_comes_back_when_the_room_is_free() -> None:
    here = full_of_preemptible()
    answer = here.reserve("spot", request_id="s")
    assert isinstance(answer, Refused)
    assert answer.eviction is not None

    assert answer.refusal.reason == "contended"
    assert answer.refusal.evicting == Evicting(requests=1, slots=1, kv_bytes=200)
    assert 10_000 <= answer.refusal.retry_after_ms <= 12_500


def test_a_refusal_names_amounts_and_nobody() -> None:
    here = full_of_preemptible()
    answer = here.reserve("spot")
    assert isinstance(answer, Refused)
    assert answer.eviction is not None

    (its_id,) = answer.eviction.reservation_ids
    assert its_id not in repr(answer.refusal)
    assert "preemptible" not in repr(answer.refusal).replace("served_class", "")


def test_a_retry_evicts_nobody_else_and_another_request_does() -> None:
    here = full_of_preemptible()
    counts = []
    for request_id in ("a", "a", "b", "b", "c"):
        answer = here.reserve("spot", request_id=request_id)
        assert isinstance(answer, Refused)
        counts.append(len(answer.eviction.reservation_ids) if answer.eviction else None)

    assert counts == [1, 0, 1, 0, None]


def test_while_somebody_waits_for_room_nothing_preemptible_takes_it() -> None:
    here = full_of_preemptible()
    here.refused("spot", request_id="s")
    gone = here.gate.reservations.of_request(POOL, "preemptible", "p1")
    assert gone is not None
    here.gate.settle(gone.reservation_id, SettleBody(outcome="evicted"), now=here.now)

    assert here.refused("preemptible").reason == "contended"
    here.admitted("spot", request_id="s")
    assert here.refused("preemptible").reason == "contended"


@pytest.mark.parametrize(
    ("why", "ask"),
    [
        pytest.param("its own class", {"uid": "preemptible"}, id="preemptible evicts nobody"),
        pytest.param("too large", {"uid": "spot", "n": 3}, id="nobody goes in vain"),
    ],
)
def test_nobody_goes(why: str, ask: dict[str, object]) -> None:
    answer = full_of_preemptible().reserve(**ask)  # type: ignore[arg-type]  # a row of the table
    assert isinstance(answer, Refused)

    assert answer.eviction is None, why


def test_one_that_cannot_be_renewed_is_left_alone() -> None:
    here = World(SPEC)
    give(here, grant=0, common_slots=1)
    here.admitted("preemptible", can_renew=False)
    answer = here.reserve("guaranteed")

    assert isinstance(answer, Admitted)
    assert answer.eviction is None


def test_the_victim_learns_it_from_its_renewal_and_settles_what_it_produced() -> None:
    here = World(SPEC)
    give(here, grant=0, common_slots=1)
    victim = here.admitted("preemptible")
    here.admitted("guaranteed")
    here.pass_s(2)
    told = renewed(here, victim)
    here.pass_s(1)
    again = renewed(here, victim)
    body = SettleBody(input_tokens=10, output_tokens=3, outcome="evicted")
    here.gate.settle(victim.reservation_id, body, now=here.now)
    line = next(row for row in here.report().entitlements if row.entitlement == "preemptible")

    assert (told.verdict, told.evict_in_ms, told.evict_reason) == ("evict", 5_000, "called_back")
    assert again.evict_in_ms == 4_000
    assert (line.evicted, line.settled, line.settled_tokens.output_tokens) == (1, 1, 3)
    assert line.held == NOTHING_HELD
    assert [(each.reason, each.entitlement) for each in evicted(here)] == [
        ("called_back", "preemptible")
    ]


def test_one_that_never_renews_again_expires() -> None:
    here = full_of_preemptible(slots=1)
    here.admitted("guaranteed")
    here.pass_s(15)
    here.gate.expire(here.now)

    assert here.gate.desks[POOL].accounts["preemptible"].held == NOTHING_HELD
    assert here.gate.desks[POOL].reclaim.going == {}
    assert evicted(here) == []


def test_one_that_ends_before_it_was_told_was_not_evicted() -> None:
    here = full_of_preemptible(slots=0)
    victim = here.admitted("preemptible")
    other = here.admitted("preemptible")
    here.admitted("guaranteed")
    here.gate.settle(other.reservation_id, SettleBody(), now=here.now)

    assert renewed(here, victim).verdict == "continue"
    assert evicted(here) == []


def test_in_shadow_mode_nobody_is_told() -> None:
    here = full_of_preemptible(slots=0)
    victim = here.admitted("preemptible")
    here.gate.shadow = True
    here.admitted("preemptible")
    here.admitted("guaranteed")
    here.admitted("guaranteed")
    here.pass_s(1)
    verdicts = {renewed(here, victim).verdict, renewed(here, victim).verdict}
    counters = here.gate.desks[POOL].accounts["preemptible"].counters

    assert verdicts == {"continue"}
    assert (counters.evicted, counters.shadow_evicted) == (0, 1)
    assert [each.shadow for each in evicted(here)] == [True]


def test_an_evicted_reservation_holds_its_room_until_it_ends() -> None:
    here = full_of_preemptible(slots=1, common_slots=1)
    here.refused("spot", request_id="s")

    assert here.gate.desks[POOL].accounts["preemptible"].held == Held(20, 200, 1)
    assert here.refused("spot", request_id="s").reason == "contended"


def test_whoever_takes_the_last_room_that_was_lent_evicts_though_the_floor_was_lent_before() -> (
    None
):
    here = World(SPEC)
    here.share(
        {"guaranteed": FLOOR, "elastic": Resources(WIDE, 10_000, 2)},
        grants={"guaranteed": NOTHING},
        common=Resources(WIDE, WIDE, 1),
    )
    here.admitted("preemptible")
    evictions = []
    for uid in ("guaranteed", "guaranteed", "elastic"):
        answer = here.reserve(uid)
        assert isinstance(answer, Admitted)
        evictions.append(answer.eviction)

    assert [each is None for each in evictions] == [True, True, False]


def test_nothing_of_a_surplus_class_starts_in_room_that_was_taken_back() -> None:
    here = World(SPEC)
    give(here, grant=0, common_slots=2)
    here.admitted("guaranteed")
    here.admitted("preemptible")

    assert here.refused("preemptible").reason == "contended"
    assert here.refused("spot").reason == "contended"
