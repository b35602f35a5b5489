"""Reservations of other admitters: who answers, who adopts, and that nobody adopts twice."""

from msgspec.structs import replace

from admission.core.answers import Closed, Elsewhere, NotYet, Renewed, Unknown
from schemas.reservations import Reservation, SettleBody
from schemas.units import NO_TOKENS, NOTHING_HELD, Held
from tests.unit.admission.pools import (
    ALL_CLASSES,
    FLOOR,
    HERE,
    POOL,
    THERE,
    World,
    pool,
    state,
)

ALL = {HERE: True, THERE: True}
USED = SettleBody(input_tokens=10, output_tokens=10)


def elsewhere() -> tuple[World, Reservation]:
    """Another admitter with an open reservation."""
    there = World(incarnation=THERE)
    there.share({"guaranteed": FLOOR}, alive=ALL, home=THERE)
    return there, there.admitted("guaranteed")


def here(*, there_alive: bool, home: str = HERE, tick: int = 5) -> World:
    world = World()
    alive = {HERE: True, THERE: there_alive, "c-1": True}
    world.share({"guaranteed": FLOOR}, alive=alive, home=home, tick=tick)
    return world


def renewed(world: World, reservation_id: str) -> object:
    return world.gate.renew(reservation_id, output_tokens=0, now=world.now)


def test_a_live_owner_is_named() -> None:
    _, reservation = elsewhere()

    answer = renewed(here(there_alive=True), reservation.reservation_id)

    assert isinstance(answer, Elsewhere)
    assert answer.owner_url == f"http://{THERE}"


def test_a_dead_owners_reservation_is_taken_over_at_the_home() -> None:
    _, reservation = elsewhere()
    world = here(there_alive=False)
    answer = renewed(world, reservation.reservation_id)
    assert isinstance(answer, Renewed)
    report = world.report()

    assert answer.renewal.adopted
    assert answer.renewal.reservation_id != reservation.reservation_id
    assert report.entitlements[0].held == Held(20, 200, 1)
    assert [(each.incarnation, each.adopted) for each in report.adoptions] == [
        (THERE, Held(20, 200, 1))
    ]


def test_elsewhere_the_home_is_named() -> None:
    _, reservation = elsewhere()

    answer = renewed(here(there_alive=False, home="c-1"), reservation.reservation_id)

    assert isinstance(answer, Elsewhere)
    assert answer.owner_url == "http://c-1"


def test_it_is_adopted_once_under_either_id() -> None:
    _, reservation = elsewhere()
    world = here(there_alive=False)
    first = renewed(world, reservation.reservation_id)
    again = renewed(world, reservation.reservation_id)
    assert isinstance(first, Renewed)
    assert isinstance(again, Renewed)
    settled = world.gate.settle(first.renewal.reservation_id, USED, now=world.now)
    old = world.gate.settle(reservation.reservation_id, USED, now=world.now)

    assert again.renewal.reservation_id == first.renewal.reservation_id
    assert isinstance(settled, Closed)
    assert isinstance(old, Closed)
    assert [settled.result.first, old.result.first] == [True, False]
    assert world.gate.desks[POOL].accounts["guaranteed"].held == NOTHING_HELD


def test_what_was_charged_at_the_dead_admitter_is_not_refunded_here() -> None:
    _, reservation = elsewhere()
    world = here(there_alive=False)
    bucket = world.gate.desks[POOL].accounts["guaranteed"].share
    bucket.charge(1_000, now_us=world.now_us)
    world.gate.settle(reservation.reservation_id, SettleBody(), now=world.now)
    kept = bucket.level_tokens(world.now_us)
    _, another = elsewhere()
    more = here(there_alive=False)
    more.gate.settle(another.reservation_id, SettleBody(output_tokens=120), now=more.now)
    level = more.gate.desks[POOL].accounts["guaranteed"].share.level_tokens(more.now_us)

    assert kept == 1_000
    assert level == 100


def test_a_state_older_than_the_reservation_says_nothing_of_its_owner() -> None:
    world = World()
    world.share({"guaranteed": FLOOR})
    there = World(incarnation=THERE)
    there.share({"guaranteed": FLOOR}, alive=ALL, home=THERE, tick=50)
    reservation = there.admitted("guaranteed")

    assert isinstance(renewed(world, reservation.reservation_id), NotYet)


def test_an_owner_that_the_newer_state_no_longer_lists_is_dead() -> None:
    _, reservation = elsewhere()
    world = World()
    world.share({"guaranteed": FLOOR}, tick=5)

    assert isinstance(renewed(world, reservation.reservation_id), Renewed)


def test_nobody_waits_for_a_home_of_an_entitlement_that_was_removed() -> None:
    _, reservation = elsewhere()
    kept = tuple(each for each in ALL_CLASSES if each.uid != "guaranteed")
    world = World(spec=pool(*kept))
    world.share({}, tick=5)

    assert renewed(world, reservation.reservation_id) == Unknown("its entitlement was removed")


def test_an_id_that_nobody_signed_is_unknown() -> None:
    assert renewed(here(there_alive=True), "v1.AAAA.BBBB") == Unknown()


def test_an_admitter_declared_dead_begins_again_empty_and_ends_nothing() -> None:
    there, reservation = elsewhere()
    dead = state(there.spec, shares={}, alive={THERE: False, HERE: True}, tick=99)
    there.follow(dead)
    again = there.gate.reborn("b-2", now=there.now)

    assert there.gate.declared_dead
    assert not again.declared_dead
    assert len(again.reservations) == 0
    assert again.desks[POOL].state == dead
    answer = again.renew(reservation.reservation_id, output_tokens=0, now=there.now)
    assert isinstance(answer, Elsewhere)


def test_absence_from_a_new_owners_first_state_is_no_death() -> None:
    there, _ = elsewhere()
    there.follow(replace(state(there.spec, shares={}, tick=99), admitters=()))

    assert not there.gate.declared_dead


def test_a_settlement_that_may_have_been_made_before_is_not_adopted_and_not_counted_again() -> None:
    there, reservation = elsewhere()
    there.gate.settle(reservation.reservation_id, USED, now=there.now)
    world = here(there_alive=False)
    again = SettleBody(input_tokens=10, output_tokens=10, repeated=True)
    answers = [world.gate.settle(reservation.reservation_id, again, now=world.now) for _ in "ab"]
    counters = world.gate.desks[POOL].accounts["guaranteed"].counters

    assert [each.result.first for each in answers if isinstance(each, Closed)] == [False, False]
    assert (counters.adopted, counters.settled, counters.settled_tokens) == (0, 0, NO_TOKENS)
    assert world.report().adoptions == ()
