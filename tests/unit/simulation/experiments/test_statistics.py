"""Medians, their intervals and Jain's index, on data small enough to do by hand."""

from __future__ import annotations

import pytest

from simulation.experiments.statistics import (
    Figure,
    coverage_ppm,
    figure_of,
    interval_rank,
    jain_index,
    median,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([7.0], 7.0, id="one value is its own median"),
        pytest.param([3.0, 1.0, 2.0], 2.0, id="the middle one, in whatever order"),
        pytest.param([4.0, 1.0, 2.0, 8.0], 3.0, id="the mean of the two in the middle"),
    ],
)
def test_the_median(values: list[float], expected: float) -> None:
    assert median(values) == expected


@pytest.mark.parametrize(
    ("runs", "rank", "coverage"),
    [
        pytest.param(1, 1, 0, id="one run says nothing about the spread"),
        pytest.param(5, 1, 937_500, id="five runs cannot reach 95 %: all that was seen"),
        pytest.param(6, 1, 968_750, id="six can, from the least to the most"),
        pytest.param(9, 2, 960_937, id="nine leave one out on either side"),
        pytest.param(20, 6, 958_610, id="twenty: the 6th to the 15th"),
        pytest.param(40, 14, 961_522, id="forty: the 14th to the 27th"),
    ],
)
def test_the_interval_is_the_narrowest_with_95_percent(runs: int, rank: int, coverage: int) -> None:
    assert interval_rank(runs) == rank
    assert coverage_ppm(runs, rank) == coverage


def test_one_rank_more_would_miss_95_percent() -> None:
    assert all(coverage_ppm(runs, interval_rank(runs) + 1) < 950_000 for runs in range(6, 60))


def test_a_figure_names_the_sixth_and_the_fifteenth_of_twenty_runs() -> None:
    values = [float(value) for value in range(20, 0, -1)]

    assert figure_of(values) == Figure(median=10.5, low=6.0, high=15.0, runs=20)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        pytest.param([2.0, 2.0, 2.0], 1.0, id="equal shares"),
        pytest.param([1.0, 0.0, 0.0, 0.0], 0.25, id="one has everything"),
        pytest.param([1.0, 3.0], 0.8, id="one has three times as much"),
        pytest.param([0.0, 0.0], None, id="nobody has anything"),
    ],
)
def test_jains_index(shares: list[float], expected: float | None) -> None:
    assert jain_index(shares) == expected
