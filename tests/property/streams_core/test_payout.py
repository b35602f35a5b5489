"""Payout conserves tokens exactly, whatever comes when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.core.payout import DURATION_US_MAX, Payout

additions = st.tuples(
    st.sampled_from("abc"), st.integers(0, 10**6), st.integers(-5, 2 * DURATION_US_MAX)
)
steps = st.lists(st.tuples(st.integers(0, 10**7), st.lists(additions, max_size=4)), max_size=30)


@given(steps=steps, jump_us=st.integers(-(10**9), 10**9))
def test_all_that_is_added_is_paid_once_or_still_owed(
    steps: list[tuple[int, list[tuple[str, int, int]]]], jump_us: int
) -> None:
    payout, now_us, added, paid = Payout(), 10**12, 0, 0
    for number, (elapsed_us, items) in enumerate(steps):
        if number == 10:
            now_us += jump_us
        for uid, tokens, duration_us in items:
            added += tokens
            payout.add(uid, cost_tokens=tokens, duration_us=duration_us, now_us=now_us)
        taken = payout.take(since_us=now_us, until_us=now_us + elapsed_us)
        assert all(amount > 0 for amount in taken.values())
        paid += sum(taken.values())
        now_us += elapsed_us

    assert paid + payout.owed_tokens == added

    late_us = now_us + 2 * DURATION_US_MAX + 2 * 10**9
    paid += sum(payout.take(since_us=now_us, until_us=late_us).values())
    assert (paid, payout.owed_tokens) == (added, 0)
