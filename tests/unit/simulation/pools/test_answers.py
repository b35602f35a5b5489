"""What a gateway is told, and what only the judge knows: was a refusal inside a floor?"""

from __future__ import annotations

from schemas.decisions import RefusalReason
from schemas.units import NO_TOKENS, US_PER_S, TokenCounts
from simulation.policy import Ask, Denied, Elsewhere, Ended, Granted, Kept, NotNow, Unknown
from simulation.pools.faults import FaultKind, TimedFault
from simulation.pools.tokenpools import TokenPools
from tests.unit.simulation.pools.small_world import small_pool

USED = TokenCounts(input_tokens=10, output_tokens=10)


def running(*, doors: int = 1, ordered: tuple[TimedFault, ...] = ()) -> TokenPools:
    pools = TokenPools(small_pool(), seed="answers", doors=doors, ordered=ordered)
    pools.resize(ready=2, starting=0, draining=0, now_us=0)
    return pools


def asked(number: int, *, entitlement: str = "guaranteed", can_renew: bool = True) -> Ask:
    return Ask(
        request_id=f"r{number}",
        entitlement=entitlement,
        input_tokens=10,
        max_tokens=10,
        can_renew=can_renew,
    )


def granted(pools: TokenPools, ask: Ask, *, door: int = 0) -> Granted:
    answer = pools.reserve(ask, door=door, now_us=0)
    assert isinstance(answer, Granted), answer
    return answer


def test_whoever_cannot_renew_need_not() -> None:
    pools = running()
    here = granted(pools, asked(1, can_renew=False))

    assert here.renew_in_us == 0
    answer = pools.settle(here.handle, USED, door=0, completed=True, now_us=14 * US_PER_S)
    assert answer == Ended(first=True)


def test_a_reservation_ends_once_and_one_that_used_nothing_is_released() -> None:
    pools = running()
    here, there = granted(pools, asked(1)), granted(pools, asked(2))

    answers = [
        pools.settle(here.handle, USED, door=0, completed=True, now_us=US_PER_S) for _ in range(2)
    ]
    released = pools.settle(there.handle, NO_TOKENS, door=0, completed=False, now_us=US_PER_S)

    assert answers == [Ended(first=True), Ended(first=False)]
    assert released == Ended(first=True)
    gate = pools.admitters[0].gate
    assert gate is not None
    counters = gate.desks["chat"].accounts["guaranteed"].counters
    assert (counters.settled, counters.released) == (1, 1)


def test_another_door_names_the_one_that_answers_for_a_reservation() -> None:
    pools = running(doors=2)
    home = pools.home_of("guaranteed")
    assert home is not None
    here = granted(pools, asked(1), door=home)

    answer = pools.renew(here.handle, door=1 - home, output_tokens=0, now_us=US_PER_S)

    assert answer == Elsewhere(door=home)
    assert pools.renew("v1.x.y", door=home, output_tokens=0, now_us=US_PER_S) == Unknown()


def test_a_refusal_beyond_the_whole_floor_is_not_inside_it() -> None:
    pools = running()
    for number in range(12):
        granted(pools, asked(number))

    answer = pools.reserve(asked(99), door=0, now_us=0)

    assert isinstance(answer, Denied)
    assert (answer.reason, answer.inside_floor) == (RefusalReason.LIMIT_REACHED, False)


def test_a_share_that_is_used_up_elsewhere_is_inside_the_floor_and_the_home_has_the_rest() -> None:
    pools = running(doors=2)
    home = pools.home_of("guaranteed")
    assert home is not None
    answers = [pools.reserve(asked(n), door=1 - home, now_us=0) for n in range(13)]
    refused = next(answer for answer in answers if isinstance(answer, Denied))

    assert refused.reason == RefusalReason.SHARE_EXHAUSTED
    assert (refused.inside_floor, refused.home) == (True, home)
    assert isinstance(pools.reserve(asked(50), door=home, now_us=0), Granted)


def test_a_door_that_stands_still_answers_nobody_and_knows_its_reservations_when_it_wakes() -> None:
    pause = TimedFault(at_us=US_PER_S, kind=FaultKind.PAUSE, lasts_us=5 * US_PER_S)
    pools = running(ordered=(pause,))
    here = granted(pools, asked(1))

    during = pools.renew(here.handle, door=0, output_tokens=0, now_us=2 * US_PER_S)
    after = pools.renew(here.handle, door=0, output_tokens=0, now_us=7 * US_PER_S)

    assert isinstance(during, NotNow)
    assert isinstance(after, Kept)


def test_what_a_killed_door_had_open_counts_until_its_time_runs_out() -> None:
    kill = TimedFault(at_us=US_PER_S, kind=FaultKind.KILL, lasts_us=60 * US_PER_S)
    pools = running(ordered=(kill,))
    granted(pools, asked(1))

    pools.advance(now_us=10 * US_PER_S)
    (grave,) = pools.graves
    assert (grave.entitlement, grave.until_us // US_PER_S) == ("guaranteed", 15)
    assert pools.held("guaranteed").slots == 1

    pools.advance(now_us=16 * US_PER_S)
    assert pools.held("guaranteed").slots == 0
