"""The estimates of outputs are calibrated: the part that is enough follows the target."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.core.estimator import (
    LEVEL_PPM_MIN,
    SAMPLES_MAX,
    STEP_PPM,
    TARGET_PPM,
    OutputEstimator,
)
from schemas.units import PPM
from tests.property.examples import examples

MAX_TOKENS = 100_000
TOLERANCE_PPM = 40_000
"""How far coverage may be from its target over ``WINDOW`` outputs, in these distributions."""
WINDOW = 2_000
SETTLING = 200
"""Outputs after a change before coverage is judged."""
MISSES_MORE = (PPM - LEVEL_PPM_MIN) // STEP_PPM + 1

Draw = Callable[[random.Random], int]
DISTRIBUTIONS: dict[str, Draw] = {
    "log-normal": lambda rng: round(rng.lognormvariate(5, 0.5)),
    "heavy tail": lambda rng: round(20 * rng.paretovariate(1.2)),
    "uniform": lambda rng: rng.randint(32, 1_760),
    "two kinds": lambda rng: rng.randint(10, 60) if rng.random() < 0.5 else rng.randint(800, 2_400),
    "exponential": lambda rng: round(rng.expovariate(1 / 400)),
}


def misses_of(estimator: OutputEstimator, outputs: list[int], max_tokens: int) -> list[bool]:
    """Estimate and observe one output after the other."""
    missed = []
    for output in outputs:
        missed.append(output > estimator.expect(max_tokens))
        estimator.observe(output, covered=not missed[-1])
    return missed


def coverage_ppm(missed: list[bool]) -> int:
    return PPM - sum(missed) * PPM // len(missed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_coverage_tracks_the_target(name: str, seed: int) -> None:
    rng = random.Random(seed)
    outputs = [min(MAX_TOKENS, DISTRIBUTIONS[name](rng)) for _ in range(SETTLING + WINDOW)]

    missed = misses_of(OutputEstimator(), outputs, MAX_TOKENS)[SETTLING:]

    assert abs(coverage_ppm(missed) - TARGET_PPM) <= TOLERANCE_PPM


@pytest.mark.parametrize("before", DISTRIBUTIONS)
@pytest.mark.parametrize("after", DISTRIBUTIONS)
def test_coverage_comes_back_when_the_tenant_changes(before: str, after: str) -> None:
    rng = random.Random(7)
    estimator = OutputEstimator()
    misses_of(estimator, [min(MAX_TOKENS, DISTRIBUTIONS[before](rng)) for _ in range(1_500)], 10**6)
    outputs = [min(MAX_TOKENS, DISTRIBUTIONS[after](rng)) for _ in range(SETTLING + WINDOW)]

    missed = misses_of(estimator, outputs, MAX_TOKENS)[SETTLING:]

    assert abs(coverage_ppm(missed) - TARGET_PPM) <= TOLERANCE_PPM


@examples(200)
@given(
    outputs=st.lists(st.integers(0, 4_000), min_size=1, max_size=400),
    repeats=st.integers(1, 5),
    window=st.tuples(st.integers(0, 1_000), st.integers(1, 1_000)),
)
def test_misses_are_bounded_whatever_the_outputs_are(
    outputs: list[int], repeats: int, window: tuple[int, int]
) -> None:
    missed = misses_of(OutputEstimator(), sorted(outputs) * repeats, 4_000)
    start, length = window[0] % len(missed), window[1]
    part = missed[start : start + length]

    assert sum(part) <= len(part) * (PPM - TARGET_PPM) / PPM + MISSES_MORE


@given(outputs=st.lists(st.integers(0, 10**8), max_size=2_000))
def test_memory_is_bounded(outputs: list[int]) -> None:
    estimator = OutputEstimator()
    for output in outputs:
        estimator.observe(output, covered=False)

    assert estimator.samples < SAMPLES_MAX
    assert len(estimator.counts) < 16 + 8 * 27
    assert estimator.level_ppm < PPM + STEP_PPM


@given(outputs=st.lists(st.integers(0, 5_000), min_size=1, max_size=200), levels=st.randoms())
def test_a_quantile_depends_on_what_was_seen_not_on_when_it_was_asked_for(
    outputs: list[int], levels: random.Random
) -> None:
    asked, fresh = OutputEstimator(), OutputEstimator()
    for output in outputs:
        asked.observe(output, covered=True)
        asked.quantile(levels.randint(1, PPM))
        fresh.observe(output, covered=True)
    level_ppm = levels.randint(1, PPM)

    assert asked.quantile(level_ppm) == fresh.quantile(level_ppm)
