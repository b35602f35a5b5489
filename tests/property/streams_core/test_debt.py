"""Debt is bounded, fades when idle, and does not depend on the length of a tick."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from schemas.specs import Policy
from schemas.units import PPM, US_PER_S, Ppm
from streams.core.debt import (
    BURST_MAX,
    DEBT_MAX,
    DEBT_MIN,
    TRILLION,
    WEIGHT_MIN,
    Ppt,
    alphas_of,
    decay_over,
    gap_of,
    joined,
    next_burst,
    next_debt,
    parted,
    weight_of,
)

ppm = st.integers(-PPM, PPM).map(Ppm)
ppt = st.integers(-TRILLION, TRILLION).map(Ppt)
half_lives = st.decimals("2", "100", places=1) | st.just(Decimal(3_600))
TICKS_US = (250_000, 1_000_000, 5_000_000)
MINUTES_5_S = 36
"""Three minutes in stretches of 5 s, in which service gap and excess stay what they are."""


def rounding_ppt(half_life_s: Decimal) -> int:
    """Return what the shortest ticks may differ by, as the module says."""
    return 1 + 2 * int(3 * half_life_s * US_PER_S / min(TICKS_US))


@given(
    start=st.integers(DEBT_MIN * PPM, DEBT_MAX * PPM).map(Ppt),
    gaps=st.lists(ppm, min_size=1, max_size=MINUTES_5_S),
    half_life_s=half_lives,
)
def test_debt_is_the_same_for_ticks_of_any_length(
    start: Ppt, gaps: list[Ppm], half_life_s: Decimal
) -> None:
    debts = []
    for tick_us in TICKS_US:
        debt, decay = start, decay_over(tick_us, half_life_s=half_life_s)
        for gap in gaps:
            for _ in range(5 * US_PER_S // tick_us):
                debt = next_debt(debt, gap=gap, decay=decay)
        debts.append(debt)

    assert max(debts) - min(debts) <= rounding_ppt(half_life_s)


@given(
    start=st.integers(0, BURST_MAX * PPM).map(Ppt),
    excesses=st.lists(st.integers(0, BURST_MAX).map(Ppm), min_size=1, max_size=MINUTES_5_S),
    half_life_s=half_lives,
)
def test_burst_is_the_same_for_ticks_of_any_length(
    start: Ppt, excesses: list[Ppm], half_life_s: Decimal
) -> None:
    bursts = []
    for tick_us in TICKS_US:
        burst, decay = start, decay_over(tick_us, half_life_s=half_life_s)
        for excess in excesses:
            for _ in range(5 * US_PER_S // tick_us):
                burst = next_burst(burst, excess=excess, decay=decay)
        bursts.append(burst)

    assert max(bursts) - min(bursts) <= 4 * rounding_ppt(half_life_s)


@given(amount=ppt)
def test_the_wire_loses_nothing_of_a_debt(amount: Ppt) -> None:
    whole, rest = parted(amount)

    assert joined(whole, rest) == amount
    assert abs(rest) < PPM
    assert whole * rest >= 0


@given(debt=ppt, gap=ppm, decay=st.integers(0, TRILLION).map(Ppt))
def test_debt_is_bounded(debt: Ppt, gap: Ppm, decay: Ppt) -> None:
    assert DEBT_MIN <= parted(next_debt(debt, gap=gap, decay=decay))[0] <= DEBT_MAX


@given(served=st.integers(0, 10**9), pending=st.integers(0, 10**9), baseline=st.integers(1, 10**9))
def test_debt_is_earned_only_by_unmet_demand(served: int, pending: int, baseline: int) -> None:
    gap = gap_of(served=served, pending=pending, baseline=baseline)

    assert gap <= 0 or (pending > 0 and served < baseline)


@given(debt=st.integers(1, DEBT_MAX * PPM).map(Ppt), elapsed_us=st.integers(100_000, 10**8))
def test_debt_fades_when_idle(debt: Ppt, elapsed_us: int) -> None:
    faded = next_debt(debt, gap=Ppm(0), decay=decay_over(elapsed_us, half_life_s=Decimal("9.7")))

    assert 0 <= faded < debt


@given(elapsed=st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)), half_life_s=half_lives)
def test_decay_over_two_spans_is_the_product(
    elapsed: tuple[int, int], half_life_s: Decimal
) -> None:
    first, second = (decay_over(span, half_life_s=half_life_s) for span in elapsed)

    whole = decay_over(sum(elapsed), half_life_s=half_life_s)

    assert abs(whole - first * second // TRILLION) <= 2


@given(
    slo_ms=st.integers(1, 86_400_000),
    reference=st.integers(1, 86_400_000),
    debt=ppm,
    burst=st.integers(0, 4 * PPM).map(Ppm),
)
def test_a_weight_is_always_above_0(slo_ms: int, reference: int, debt: Ppm, burst: Ppm) -> None:
    weight = weight_of(
        slo_ms=slo_ms,
        reference_slo_ms=reference,
        debt=debt,
        burst=burst,
        alphas=alphas_of(Policy()),
    )

    assert weight >= WEIGHT_MIN
