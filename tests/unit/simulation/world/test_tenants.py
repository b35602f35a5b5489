"""Tenants: what a request does when it is refused, and until it ends, seen from the policy."""

import pytest

from schemas.units import US_PER_S, TokenCounts
from simulation.policy import Ask, Denied, Elsewhere, Ended, Granted, Kept, NotNow, Unknown
from simulation.world.measures import Outcome
from simulation.world.running import RENEW_RETRY_US
from simulation.world.scenario import Behaviour, DoorChoice, Manners
from simulation.world.tenants import ROUNDS_MAX, UNREACHABLE
from simulation.world.world import World
from tests.unit.simulation.worlds import SERVICE_US, Scripted, arrivals, grant, scenario

POLITE = Behaviour(doors=DoorChoice.STICKY)
IMPOLITE = Behaviour(doors=DoorChoice.STICKY, manners=Manners.IMPOLITE, pause_us=200_000)


def refusals(count: int, denied: Denied) -> Scripted:
    """Return a policy that refuses so many times and then admits."""
    policy = Scripted()

    def answer(ask: Ask, door: int, now_us: int) -> Granted | Denied:
        return denied if len(policy.reserved) <= count else grant(ask, door=door)

    policy.on_reserve = answer
    return policy


CONTENDED = Denied(reason="contended", retry_after_us=700_000, ticket="t-1")


def test_a_polite_tenant_waits_for_retry_after_and_returns_the_ticket() -> None:
    policy = refusals(1, CONTENDED)

    measures = World(scenario(arrivals(1), behaviour=POLITE), policy).run()

    assert [(at_us, ask.ticket) for at_us, _, ask in policy.reserved] == [
        (1_000_000, ""),
        (1_700_000, "t-1"),
    ]
    tally = measures.tallies["tenant"]
    assert (tally.requests, tally.attempts, tally.admitted) == (1, 2, 1)
    assert tally.refused_attempts == {"contended": 1}
    assert tally.outcomes == {Outcome.COMPLETED: 1}


def test_an_impolite_tenant_comes_back_sooner_at_another_door_without_the_ticket() -> None:
    policy = refusals(2, CONTENDED)
    policy.doors = 3

    World(scenario(arrivals(1), behaviour=IMPOLITE), policy).run()

    asked = [(at_us, ask.ticket) for at_us, _, ask in policy.reserved]
    doors = [door for _, door, _ in policy.reserved]
    assert asked == [(1_000_000, ""), (1_200_000, ""), (1_400_000, "")]
    assert len(set(doors)) == 3


@pytest.mark.parametrize(
    ("behaviour", "attempts"),
    [
        pytest.param(Behaviour(attempts_max=3), 3, id="out of attempts"),
        pytest.param(Behaviour(attempts_max=1), 1, id="never comes back"),
        pytest.param(Behaviour(patience_us=1_399_999), 2, id="out of patience"),
        pytest.param(Behaviour(patience_us=1_400_000), 3, id="just patient enough"),
    ],
)
def test_a_tenant_gives_up(behaviour: Behaviour, attempts: int) -> None:
    policy = refusals(99, CONTENDED)

    measures = World(scenario(arrivals(1), behaviour=behaviour), policy).run()

    tally = measures.tallies["tenant"]
    assert (tally.attempts, tally.refused_attempts["contended"]) == (attempts, attempts)
    assert (tally.refused_requests["contended"], tally.requests_refused) == (1, 1)
    assert tally.outcomes == {Outcome.GAVE_UP: 1}
    assert policy.settled == []


def test_an_impossible_request_does_not_come_back() -> None:
    policy = refusals(99, Denied(reason="impossible"))

    measures = World(scenario(arrivals(1), behaviour=POLITE), policy).run()

    assert len(policy.reserved) == 1
    assert measures.tallies["tenant"].outcomes == {Outcome.REJECTED: 1}


def exhausted_elsewhere(at_home: Denied | None) -> Scripted:
    """Return a policy of two doors whose first asked one sends to the other; None: admitted."""
    policy = Scripted(doors=2)

    def answer(ask: Ask, door: int, now_us: int) -> Granted | Denied:
        if len(policy.reserved) > 1:
            return at_home or grant(ask, door=door)
        return Denied(
            reason="share_exhausted",
            ticket="t-1",
            home=1 - door,
            home_has_all=True,
            inside_floor=True,
        )

    policy.on_reserve = answer
    return policy


def test_an_exhausted_share_sends_the_request_home_once() -> None:
    policy = exhausted_elsewhere(at_home=None)

    measures = World(scenario(arrivals(1, 2), behaviour=POLITE), policy).run()

    first, home, later = policy.reserved
    assert (home[1], home[2].ticket) == (1 - first[1], "t-1")
    assert later[1] == home[1]
    tally = measures.tallies["tenant"]
    assert (tally.attempts, tally.share_exhausted, tally.went_home) == (2, 1, 1)
    assert (tally.admitted_at_home, tally.requests_refused) == (1, 0)
    assert measures.guaranteed_floor_refusals == 0


def test_a_refusal_inside_the_floor_counts_after_the_home_was_asked() -> None:
    policy = exhausted_elsewhere(at_home=Denied(reason="contended", inside_floor=True))

    measures = World(scenario(arrivals(1), behaviour=Behaviour(attempts_max=1)), policy).run()

    assert measures.guaranteed_floor_refusals == 1
    assert measures.tallies["tenant"].refused_attempts == {"contended": 1}


def test_a_door_that_cannot_answer_is_followed_by_the_next() -> None:
    policy = Scripted(doors=2)

    def answer(ask: Ask, door: int, now_us: int) -> Granted | NotNow:
        is_first = len(policy.reserved) == 1
        return NotNow(retry_in_us=100_000) if is_first else grant(ask, door=door)

    policy.on_reserve = answer

    measures = World(scenario(arrivals(1), behaviour=POLITE), policy).run()

    assert sorted(door for _, door, _ in policy.reserved) == [0, 1]
    assert measures.tallies["tenant"].attempts == 1


def test_a_request_that_no_door_answers_is_refused_as_unreachable_after_some_rounds() -> None:
    policy = Scripted(on_reserve=lambda ask, door, now_us: NotNow(retry_in_us=100_000), doors=2)
    once = Behaviour(attempts_max=1)

    measures = World(scenario(arrivals(1), behaviour=once), policy).run()

    assert len(policy.reserved) == 2 * ROUNDS_MAX
    tally = measures.tallies["tenant"]
    assert tally.attempts == 1
    assert tally.refused_attempts == {UNREACHABLE: 1}


def test_a_reservation_is_renewed_while_its_request_runs() -> None:
    policy = Scripted(
        on_reserve=lambda ask, door, now_us: grant(ask, renew_in_us=3_000_000),
        on_renew=lambda handle, door, now_us: Kept(handle=handle, door=door, renew_in_us=3_000_000),
    )

    World(scenario(arrivals(0)), policy).run()

    assert [at_us for at_us, *_ in policy.renewed] == [3_000_000, 6_000_000]
    assert [output for *_, output in policy.renewed] == [22, 44]


def test_a_reservation_that_was_taken_over_is_renewed_and_settled_at_its_new_door() -> None:
    def renewal(handle: str, door: int, now_us: int) -> Kept | Elsewhere:
        if door == 0:
            return Elsewhere(door=1)
        return Kept(handle="adopted", door=1, renew_in_us=3_000_000)

    policy = Scripted(
        on_reserve=lambda ask, door, now_us: grant(ask, door=0, renew_in_us=3_000_000),
        on_renew=renewal,
        doors=2,
    )

    World(scenario(arrivals(0)), policy).run()

    assert [(door, handle) for _, door, handle, _ in policy.renewed] == [
        (0, "h-r1"),
        (1, "h-r1"),
        (1, "adopted"),
    ]
    assert [(door, handle) for _, door, handle, *_ in policy.settled] == [(1, "adopted")]


def test_the_owner_that_is_named_is_asked_before_the_other_doors() -> None:
    def settlement(handle: str, door: int, now_us: int) -> Ended | Elsewhere:
        return Ended(first=True) if door == 3 else Elsewhere(door=3)

    policy = Scripted(on_settle=settlement, doors=4)
    policy.on_reserve = lambda ask, door, now_us: grant(ask, door=0)

    World(scenario(arrivals(0)), policy).run()

    assert [door for _, door, *_ in policy.settled] == [0, 3]


def test_a_renewal_that_reaches_nobody_is_tried_again_until_the_reservation_has_run_out() -> None:
    policy = Scripted(
        on_reserve=lambda ask, door, now_us: grant(ask, renew_in_us=1_000_000),
        on_renew=lambda handle, door, now_us: NotNow(retry_in_us=1),
    )

    measures = World(scenario(arrivals(0)), policy).run()

    assert [at_us for at_us, *_ in policy.renewed] == [
        1_000_000 + RENEW_RETRY_US * tried for tried in range(5)
    ]
    assert measures.tallies["tenant"].lost == 1
    assert measures.tallies["tenant"].outcomes == {Outcome.COMPLETED: 1}


def test_a_request_that_is_told_to_stop_settles_in_time_what_it_produced() -> None:
    policy = Scripted(
        on_reserve=lambda ask, door, now_us: grant(ask, renew_in_us=4_000_000),
        on_renew=lambda handle, door, now_us: Kept(
            handle=handle, door=door, renew_in_us=4_000_000, stop_in_us=1_000_000
        ),
    )

    measures = World(scenario(arrivals(0)), policy).run()

    [(at_us, _, _, used, completed)] = policy.settled
    assert 4_000_000 <= at_us <= 5_000_000
    assert used.input_tokens == 64
    assert 29 <= used.output_tokens <= 37
    assert not completed
    assert measures.tallies["tenant"].outcomes == {Outcome.EVICTED: 1}


def test_a_long_request_emits_what_it_produced_every_five_seconds_and_the_rest_at_its_end() -> None:
    policy = Scripted()

    World(scenario(arrivals(0, output_tokens=136)), policy).run()

    assert [(usage.end_us, usage.final) for usage in policy.metered] == [
        (5_000_000, False),
        (10_000_000, False),
        (13_333_334, True),
    ]
    assert [usage.sequence for usage in policy.metered] == [1, 2, 3]
    assert [usage.start_us for usage in policy.metered] == [0, 5_000_000, 10_000_000]
    assert sum(usage.counts.output_tokens for usage in policy.metered) == 136
    assert sum(usage.counts.input_tokens for usage in policy.metered) == 64
    assert len({usage.id for usage in policy.metered}) == 3


def test_cached_input_is_metered_apart_and_costs_the_engine_nothing() -> None:
    policy = Scripted()

    World(scenario(arrivals(0), behaviour=Behaviour(cached_input_percent=50)), policy).run()

    [(at_us, _, _, used, _)] = policy.settled
    assert used == TokenCounts(input_tokens=32, cache_read_tokens=32, output_tokens=64)
    assert at_us == 6_400_000


def test_an_aborted_request_settles_what_it_produced() -> None:
    policy = Scripted()
    aborts = Behaviour(abort_ppm=1_000_000, abort_within_us=8 * US_PER_S)

    measures = World(scenario(arrivals(0, 0, 0), behaviour=aborts), policy).run()

    assert measures.tallies["tenant"].outcomes == {Outcome.ABORTED: 3}
    assert [completed for *_, completed in policy.settled] == [False] * 3
    assert all(used.output_tokens < 64 for *_, used, _ in policy.settled)
    assert [usage.final for usage in policy.metered].count(True) == 3


def test_mishaps_come_in_the_parts_that_were_asked_for() -> None:
    fates = Behaviour(abort_ppm=500_000, vanish_ppm=500_000, abort_within_us=1)

    measures = World(scenario(arrivals(*range(50)), behaviour=fates), Scripted()).run()

    outcomes = measures.tallies["tenant"].outcomes
    assert outcomes[Outcome.ABORTED] + outcomes[Outcome.VANISHED] == 50
    assert 15 <= outcomes[Outcome.ABORTED] <= 35


def test_a_lost_gateway_says_nothing_and_its_slot_is_free_again() -> None:
    policy = Scripted()
    vanishes = Behaviour(vanish_ppm=1_000_000, abort_within_us=4 * US_PER_S)

    world = World(scenario(arrivals(0, 0), behaviour=vanishes), policy)
    measures = world.run()

    assert measures.tallies["tenant"].outcomes == {Outcome.VANISHED: 2}
    assert policy.settled == []
    assert policy.metered == []
    assert world.host.engine.running == 0


def test_a_gateway_that_forgets_to_renew_settles_late_all_the_same() -> None:
    policy = Scripted(
        on_reserve=lambda ask, door, now_us: grant(ask, renew_in_us=1_000_000),
        on_settle=lambda handle, door, now_us: Ended(first=True, late=True),
    )
    forgets = Behaviour(forget_ppm=1_000_000)

    measures = World(scenario(arrivals(0), behaviour=forgets), policy).run()

    assert policy.renewed == []
    assert measures.tallies["tenant"].settled_late == 1
    assert measures.tallies["tenant"].outcomes == {Outcome.COMPLETED: 1}


def test_a_settlement_that_reaches_nobody_is_tried_again_with_growing_pauses() -> None:
    def answer(handle: str, door: int, now_us: int) -> Ended | NotNow:
        return NotNow(retry_in_us=1) if len(policy.settled) < 3 else Ended(first=True)

    policy = Scripted(on_settle=answer)

    measures = World(scenario(arrivals(0)), policy).run()

    assert [at_us - SERVICE_US for at_us, *_ in policy.settled] == [0, 500_000, 1_500_000]
    assert measures.tallies["tenant"].unsettled == 0


def test_a_settlement_that_never_reaches_anybody_is_counted() -> None:
    policy = Scripted(on_settle=lambda handle, door, now_us: NotNow(retry_in_us=1))

    measures = World(scenario(arrivals(0)), policy).run()

    assert len(policy.settled) == 6
    assert measures.tallies["tenant"].unsettled == 1


def test_a_reservation_that_nobody_knows_is_counted_when_it_is_settled() -> None:
    policy = Scripted(on_settle=lambda handle, door, now_us: Unknown())

    measures = World(scenario(arrivals(0)), policy).run()

    assert measures.tallies["tenant"].lost == 1
    assert measures.tallies["tenant"].outcomes == {Outcome.COMPLETED: 1}


def test_what_has_not_ended_when_the_world_ends_is_unfinished() -> None:
    policy = Scripted()

    measures = World(scenario(arrivals(59.5, output_tokens=2_000)), policy).run()

    assert measures.tallies["tenant"].outcomes == {Outcome.UNFINISHED: 1}
    assert policy.settled == []
