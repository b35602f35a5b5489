"""Windowed reserve: the limits, and the flaws that the model is there to show."""

import pytest

from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.units import US_PER_S, TokenCounts
from simulation.policy import Ask, Denied, Ended, Granted, Unknown
from simulation.rivals.windowed import (
    LOST_US,
    PARALLEL,
    REQUESTS,
    TOKENS,
    WINDOW_US,
    WindowedReserve,
    WindowLimits,
    derived_limits,
)
from tests.unit.simulation.worlds import ONE_TENANT, PAPER_POOL, entitlement, pool


def ask(number: int, *, tokens: int = 1_000) -> Ask:
    return Ask(request_id=f"r{number}", entitlement="tenant", input_tokens=0, max_tokens=tokens)


def policy(
    in_pool: Pool = ONE_TENANT,
    *,
    tokens: int = 2_000,
    parallel: int = 100,
    requests: int | None = None,
    doors: int = 1,
    shared: bool = True,
) -> WindowedReserve:
    limits = WindowLimits(tokens_per_minute=tokens, parallel=parallel, requests_per_minute=requests)
    return WindowedReserve(in_pool, doors=doors, shared=shared, limits={"tenant": limits})


def admitted(windowed: WindowedReserve, asks: range, *, now_us: int, door: int = 0) -> int:
    """Return how many of the requests are admitted."""
    answers = [windowed.reserve(ask(each), door=door, now_us=now_us) for each in asks]
    return sum(isinstance(answer, Granted) for answer in answers)


def test_estimates_are_reserved_until_the_limit() -> None:
    assert admitted(policy(), range(5), now_us=0) == 2


def test_a_window_begins_with_its_first_request() -> None:
    windowed = policy()
    late_us = 59 * US_PER_S

    assert admitted(windowed, range(2), now_us=late_us) == 2
    assert admitted(windowed, range(2, 4), now_us=late_us + WINDOW_US - 1) == 0
    assert admitted(windowed, range(4, 8), now_us=late_us + WINDOW_US) == 2


def test_a_refused_request_is_told_to_wait_for_the_end_of_the_window() -> None:
    windowed = policy()
    admitted(windowed, range(2), now_us=5)

    refused = windowed.reserve(ask(2), door=0, now_us=20 * US_PER_S)

    assert isinstance(refused, Denied)
    assert (refused.reason, refused.retry_after_us) == (TOKENS, 40 * US_PER_S + 5)


def test_what_was_not_used_is_refunded_within_the_window() -> None:
    windowed = policy()
    admitted(windowed, range(2), now_us=0)

    ended = windowed.settle("r0", TokenCounts(output_tokens=100), door=0, completed=True, now_us=1)

    assert ended == Ended(first=True)
    assert admitted(windowed, range(2, 4), now_us=2) == 0
    windowed.settle("r1", TokenCounts(output_tokens=100), door=0, completed=True, now_us=3)
    assert admitted(windowed, range(4, 8), now_us=4) == 1


def test_a_request_that_outlives_its_window_refunds_into_the_next_which_then_passes_its_limit() -> (
    None
):
    """The flaw: 3,000 tokens pass in a window whose limit is 2,000."""
    windowed = policy()
    admitted(windowed, range(2), now_us=0)
    next_us = WINDOW_US + 1
    assert admitted(windowed, range(2, 3), now_us=next_us) == 1
    for handle in ("r0", "r1"):
        windowed.settle(
            handle, TokenCounts(output_tokens=100), door=0, completed=True, now_us=next_us
        )

    more = admitted(windowed, range(3, 20), now_us=next_us)

    assert (1 + more) * 1_000 > 2_000
    assert 1 + more == 3


def test_a_refund_after_the_last_window_is_lost() -> None:
    windowed = policy()
    admitted(windowed, range(2), now_us=0)
    windowed.settle("r0", TokenCounts(output_tokens=0), door=0, completed=True, now_us=WINDOW_US)

    assert admitted(windowed, range(2, 8), now_us=WINDOW_US + 1) == 2


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        pytest.param(True, 2, id="one store for all doors"),
        pytest.param(False, 8, id="each door counts for itself: doors x limit"),
    ],
)
def test_doors(*, shared: bool, expected: int) -> None:
    windowed = policy(doors=4, shared=shared)

    counts = [
        admitted(windowed, range(10 * door, 10 * door + 5), now_us=0, door=door)
        for door in range(4)
    ]

    assert sum(counts) == expected


def test_parallel_requests_and_requests_per_minute_are_limited() -> None:
    parallel, requests = policy(parallel=1), policy(requests=1)
    for windowed in (parallel, requests):
        admitted(windowed, range(1), now_us=0)

    refusals = [windowed.reserve(ask(1), door=0, now_us=1) for windowed in (parallel, requests)]

    assert [refused.reason for refused in refusals if isinstance(refused, Denied)] == [
        PARALLEL,
        REQUESTS,
    ]


def test_a_request_that_never_settles_is_forgotten_at_last() -> None:
    windowed = policy(parallel=1)
    admitted(windowed, range(1), now_us=0)

    assert admitted(windowed, range(1, 2), now_us=LOST_US - 1) == 0
    assert admitted(windowed, range(2, 3), now_us=LOST_US) == 1


def test_settling_twice_is_unknown_and_refunds_nothing() -> None:
    windowed = policy()
    admitted(windowed, range(2), now_us=0)
    used = TokenCounts(output_tokens=500)
    windowed.settle("r0", used, door=0, completed=True, now_us=1)

    again = windowed.settle("r0", used, door=0, completed=True, now_us=2)

    assert again == Unknown()
    assert admitted(windowed, range(2, 4), now_us=3) == 0


def test_limits_come_from_the_baselines_and_for_spot_from_its_ceiling() -> None:
    limits = derived_limits(PAPER_POOL)
    surplus = derived_limits(pool(entitlement("tenant", ServiceClass.SPOT)))

    assert limits["guaranteed-a"] == WindowLimits(tokens_per_minute=5_400, parallel=6)
    assert limits["spot-b"] == WindowLimits(tokens_per_minute=9_000, parallel=10)
    assert surplus["tenant"] == WindowLimits(tokens_per_minute=14_400, parallel=16)


def test_a_refusal_inside_the_floor_is_said_to_be_one() -> None:
    """8 slots of floor, nothing running, and yet refused: the window is used up."""
    windowed = policy()
    for number in range(2):
        windowed.reserve(ask(number), door=0, now_us=0)
        windowed.settle(
            f"r{number}",
            TokenCounts(output_tokens=1_000),
            door=0,
            completed=True,
            now_us=0,
        )

    refused = windowed.reserve(ask(2), door=0, now_us=40 * US_PER_S)

    assert isinstance(refused, Denied)
    assert refused.inside_floor
