"""Payout: increments become a rate, and every token is paid once."""

from __future__ import annotations

from streams.core.payout import OPEN_PER_ENTITLEMENT_MAX, Payout

S = 1_000_000


def test_an_increment_is_paid_evenly_over_its_production_time() -> None:
    payout = Payout()
    payout.add("a", cost_tokens=100, duration_us=5 * S, now_us=10 * S)

    paid = [payout.take(since_us=at * S, until_us=(at + 1) * S).get("a", 0) for at in range(9, 16)]

    assert paid == [0, 20, 20, 20, 20, 20, 0]


def test_a_duration_of_0_is_paid_at_once() -> None:
    payout = Payout()
    payout.add("a", cost_tokens=7, duration_us=0, now_us=10 * S)

    assert payout.take(since_us=10 * S, until_us=10 * S) == {"a": 7}
    assert payout.owed_tokens == 0


def test_an_increment_that_was_folded_in_mid_tick_pays_its_part_of_the_tick() -> None:
    payout = Payout()
    payout.take(since_us=9 * S, until_us=10 * S)
    payout.add("a", cost_tokens=100, duration_us=S, now_us=10 * S + S // 2)

    assert payout.take(since_us=10 * S, until_us=11 * S) == {"a": 50}
    assert payout.take(since_us=11 * S, until_us=12 * S) == {"a": 50}


def test_what_is_folded_in_behind_the_last_tick_begins_with_the_next() -> None:
    payout = Payout()
    payout.take(since_us=9 * S, until_us=10 * S)
    payout.add("a", cost_tokens=100, duration_us=2 * S, now_us=9 * S)

    assert payout.take(since_us=10 * S, until_us=11 * S) == {"a": 50}


def test_a_tick_that_comes_late_is_paid_what_was_due() -> None:
    payout = Payout()
    payout.add("a", cost_tokens=100, duration_us=10 * S, now_us=0)

    assert payout.take(since_us=3 * S, until_us=4 * S) == {"a": 40}


def test_fractions_of_a_token_stay_owed() -> None:
    payout = Payout()
    payout.add("a", cost_tokens=1, duration_us=3 * S, now_us=0)

    paid = [payout.take(since_us=at * S, until_us=(at + 1) * S) for at in range(3)]

    assert paid == [{}, {}, {"a": 1}]


def test_a_clock_that_steps_back_pays_nothing_twice_and_stops_nothing() -> None:
    payout = Payout()
    payout.add("a", cost_tokens=100, duration_us=10 * S, now_us=100 * S)
    first = payout.take(since_us=100 * S, until_us=105 * S)

    second = payout.take(since_us=50 * S, until_us=52 * S)
    rest = payout.take(since_us=52 * S, until_us=60 * S)

    assert (first, second, rest) == ({"a": 50}, {"a": 20}, {"a": 30})


def test_what_is_open_is_bounded() -> None:
    payout = Payout()
    for number in range(20_000):
        now_us = number * 7_001
        payout.add("a", cost_tokens=1_000, duration_us=number * 37_003, now_us=now_us)
        if number % 50 == 0:
            payout.take(since_us=now_us, until_us=now_us)

    payout.take(since_us=20_000 * 7_001, until_us=20_000 * 7_001)

    assert payout.open_count <= OPEN_PER_ENTITLEMENT_MAX
