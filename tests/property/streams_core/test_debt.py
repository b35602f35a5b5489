"""Debt is bounded, fades when idle, and does not depend on the length of a tick."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from schemas.specs import Policy
from schemas.units import PPM, Ppm
from streams.core.debt import (
    DEBT_MAX,
    DEBT_MIN,
    WEIGHT_MIN,
    decay_over,
    gap_of,
    next_debt,
    weight_of,
)

ROUNDING_PPM = 200
"""One ppm per tick of truncation and of decay, as far as earlier ticks' errors have not faded."""

ppm = st.integers(-PPM, PPM).map(Ppm)
half_lives = st.decimals("2", "100", places=1)


def after(start: Ppm, *, gap: Ppm, tick_us: int, seconds: int, half_life_s: Decimal) -> int:
    """Return the debt after so many seconds of one gap."""
    debt, decay = start, decay_over(tick_us, half_life_s=half_life_s)
    for _ in range(seconds * 1_000_000 // tick_us):
        debt = next_debt(debt, gap=gap, decay=decay)
    return debt


@given(start=st.integers(DEBT_MIN, DEBT_MAX).map(Ppm), gap=ppm, half_life_s=half_lives)
def test_debt_is_the_same_for_ticks_of_any_length(
    start: Ppm, gap: Ppm, half_life_s: Decimal
) -> None:
    debts = [
        after(start, gap=gap, tick_us=tick_us, seconds=10, half_life_s=half_life_s)
        for tick_us in (250_000, 1_000_000, 5_000_000)
    ]

    assert max(debts) - min(debts) <= ROUNDING_PPM


@given(debt=ppm, gap=ppm, decay=st.integers(0, PPM).map(Ppm))
def test_debt_is_bounded(debt: Ppm, gap: Ppm, decay: Ppm) -> None:
    assert DEBT_MIN <= next_debt(debt, gap=gap, decay=decay) <= DEBT_MAX


@given(served=st.integers(0, 10**9), pending=st.integers(0, 10**9), baseline=st.integers(1, 10**9))
def test_debt_is_earned_only_by_unmet_demand(served: int, pending: int, baseline: int) -> None:
    gap = gap_of(served=served, pending=pending, baseline=baseline)

    assert gap <= 0 or (pending > 0 and served < baseline)


@given(debt=st.integers(1, DEBT_MAX).map(Ppm), elapsed_us=st.integers(100_000, 10**8))
def test_debt_fades_when_idle(debt: Ppm, elapsed_us: int) -> None:
    faded = next_debt(debt, gap=Ppm(0), decay=decay_over(elapsed_us, half_life_s=Decimal("9.7")))

    assert 0 <= faded < debt


@given(elapsed=st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)), half_life_s=half_lives)
def test_decay_over_two_spans_is_the_product(
    elapsed: tuple[int, int], half_life_s: Decimal
) -> None:
    first, second = (decay_over(span, half_life_s=half_life_s) for span in elapsed)

    whole = decay_over(sum(elapsed), half_life_s=half_life_s)

    assert abs(whole - first * second // PPM) <= 2


@given(
    slo_ms=st.integers(1, 86_400_000),
    reference=st.integers(1, 86_400_000),
    debt=ppm,
    burst=st.integers(0, 4 * PPM).map(Ppm),
)
def test_a_weight_is_always_above_0(slo_ms: int, reference: int, debt: Ppm, burst: Ppm) -> None:
    weight = weight_of(
        slo_ms=slo_ms, reference_slo_ms=reference, debt=debt, burst=burst, policy=Policy()
    )

    assert weight >= WEIGHT_MIN
