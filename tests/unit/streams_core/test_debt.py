"""Debt fades, is earned by unmet demand alone, and never turns a weight off."""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.specs import Policy
from schemas.units import PPM, Ppm, Resources
from streams.core.debt import (
    BURST_MAX,
    DEBT_MAX,
    DEBT_MIN,
    TRILLION,
    Ppt,
    alphas_of,
    decay_over,
    excess_of,
    gap_of,
    joined,
    next_burst,
    next_debt,
    parted,
    weight_of,
)

HALF_LIFE_S = Decimal("9.7")


@pytest.mark.parametrize(
    ("debt", "gap", "expected"),
    [
        pytest.param(0, 0, 0, id="nothing owed stays nothing owed"),
        pytest.param(600_000, 0, 420_000, id="debt fades while idle"),
        pytest.param(990_000, 1_000_000, 993_000, id="unmet demand adds up to one baseline"),
        pytest.param(0, -1_000_000, DEBT_MIN, id="use beyond the baseline is owed little"),
        pytest.param(DEBT_MAX, 1_000_000, DEBT_MAX, id="debt is bounded"),
    ],
)
def test_next_debt(debt: int, gap: int, expected: int) -> None:
    owed = next_debt(joined(debt, 0), gap=Ppm(gap), decay=Ppt(7 * TRILLION // 10))

    assert owed == joined(expected, 0)


@pytest.mark.parametrize("debt", [1, -1])
def test_the_last_trillionth_fades_toward_zero(debt: int) -> None:
    assert next_debt(Ppt(debt), gap=Ppm(0), decay=Ppt(TRILLION - 1)) == 0


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        pytest.param(1_500_000, (1, 500_000), id="one and a half ppm"),
        pytest.param(-1_500_000, (-1, -500_000), id="of both signs"),
        pytest.param(-1, (0, -1), id="less than a ppm"),
    ],
)
def test_a_ratio_is_a_ppm_and_a_rest_on_the_wire(amount: int, expected: tuple[int, int]) -> None:
    assert parted(Ppt(amount)) == expected
    assert joined(*expected) == amount


@pytest.mark.parametrize(
    ("served", "pending", "expected"),
    [
        pytest.param(0, 0, 0, id="idle: nothing is owed"),
        pytest.param(50, 0, 0, id="little demand, all met: nothing is owed"),
        pytest.param(50, 500, 500_000, id="demand beyond the baseline is owed up to it"),
        pytest.param(50, 20, 200_000, id="what was refused is owed"),
        pytest.param(150, 50, -500_000, id="use beyond the baseline is negative"),
        pytest.param(1_000, 0, -PPM, id="one baseline at most"),
    ],
)
def test_gap(served: int, pending: int, expected: int) -> None:
    assert gap_of(served=served, pending=pending, baseline=100) == expected


def test_an_entitlement_without_a_baseline_has_no_gap() -> None:
    assert gap_of(served=0, pending=100, baseline=0) == 0


@pytest.mark.parametrize(
    ("elapsed_us", "expected"),
    [
        pytest.param(0, TRILLION, id="no time, no decay"),
        pytest.param(9_700_000, TRILLION // 2, id="one half-life"),
        pytest.param(19_400_000, TRILLION // 4, id="two half-lives"),
        pytest.param(5_000_000, 699_567_941_372, id="the paper's 0.7 at about 5 s"),
        pytest.param(1 << 60, 0, id="for ever"),
        pytest.param(-5, TRILLION, id="a clock that stepped back"),
    ],
)
def test_decay(elapsed_us: int, expected: int) -> None:
    assert decay_over(elapsed_us, half_life_s=HALF_LIFE_S) == expected


def test_burst_is_use_beyond_the_baseline_in_the_dominant_dimension() -> None:
    use = Resources(tokens_per_s=110, kv_bytes=300, slots=1)

    excess = excess_of(use, baseline=Resources(tokens_per_s=100, kv_bytes=200, slots=2))

    assert excess == 500_000


def test_burst_is_bounded_and_says_nothing_without_a_baseline() -> None:
    assert excess_of(Resources(slots=1_000), baseline=Resources(slots=1)) == BURST_MAX
    assert excess_of(Resources(slots=1_000), baseline=Resources()) == 0
    assert next_burst(Ppt(0), excess=Ppm(BURST_MAX), decay=Ppt(0)) == joined(BURST_MAX, 0)


@pytest.mark.parametrize(
    ("slo_ms", "expected"),
    [
        pytest.param(500, 938_461, id="copilot 93.85"),
        pytest.param(30_000, 202_657, id="synth 20.27"),
        pytest.param(5_000, 603_960, id="reports 60.40"),
    ],
)
def test_weights_are_those_of_the_paper_without_the_class_factor(
    slo_ms: int, expected: int
) -> None:
    weight = weight_of(
        slo_ms=slo_ms,
        reference_slo_ms=15_250,
        debt=Ppm(0),
        burst=Ppm(0),
        alphas=alphas_of(Policy()),
    )

    assert weight == expected


@pytest.mark.parametrize(
    ("debt", "burst", "expected"),
    [
        pytest.param(775_000, 0, 4_100_000 // 3, id="debt raises the weight 1 + 4·d times"),
        pytest.param(0, PPM, PPM // 6, id="burst lowers it"),
        pytest.param(DEBT_MIN, 0, 200_000 // 3, id="negative debt leaves a fifth"),
        pytest.param(-PPM, 0, 200_000 // 3, id="whatever the debt is"),
    ],
)
def test_debt_raises_and_burst_lowers_a_weight(debt: int, burst: int, expected: int) -> None:
    weight = weight_of(
        slo_ms=1_000,
        reference_slo_ms=1_000,
        debt=Ppm(debt),
        burst=Ppm(burst),
        alphas=alphas_of(Policy()),
    )

    assert weight == expected
