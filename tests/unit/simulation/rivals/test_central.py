"""The yardstick: floors are always admitted, surplus only beside the headroom."""

from __future__ import annotations

from schemas.units import NO_TOKENS
from simulation.experiments.setups import CROSS_CLASS
from simulation.policy import Ask, Denied, Ended, Granted
from simulation.rivals.central import FULL, LIMIT, Central


def ask(uid: str, number: int) -> Ask:
    return Ask(request_id=f"{uid}/{number}", entitlement=uid, input_tokens=64, max_tokens=64)


def central() -> Central:
    policy = Central(CROSS_CLASS.with_headroom(2))
    policy.resize(ready=1, starting=0, draining=0, now_us=0)
    return policy


def admitted(policy: Central, uid: str, *, attempts: int) -> int:
    answers = [policy.reserve(ask(uid, n), door=0, now_us=0) for n in range(attempts)]
    return sum(isinstance(answer, Granted) for answer in answers)


def test_spot_takes_all_but_the_headroom_and_a_floor_is_admitted_beside_it() -> None:
    policy = central()

    assert admitted(policy, "spot-b", attempts=20) == 14
    assert admitted(policy, "guaranteed-a", attempts=20) == 6


def test_it_says_whether_the_own_limit_or_the_pool_was_reached() -> None:
    policy = central()
    admitted(policy, "guaranteed-a", attempts=6)
    admitted(policy, "spot-b", attempts=8)

    limit = policy.reserve(ask("guaranteed-a", 7), door=0, now_us=0)
    full = policy.reserve(ask("spot-b", 9), door=0, now_us=0)

    assert isinstance(limit, Denied)
    assert isinstance(full, Denied)
    assert (limit.reason, full.reason) == (LIMIT, FULL)


def test_a_settled_request_frees_its_slot_once() -> None:
    policy = central()
    admitted(policy, "spot-b", attempts=14)

    ends = [
        policy.settle("spot-b/0", NO_TOKENS, door=0, completed=True, now_us=1) for _ in range(2)
    ]

    assert ends == [Ended(first=True), Ended(first=False)]
    assert admitted(policy, "spot-b", attempts=1) == 1
    assert isinstance(policy.reserve(ask("spot-b", 99), door=0, now_us=1), Denied)
