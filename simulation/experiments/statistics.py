"""Statistics: a median and its confidence interval, from few runs and without assumptions.

The interval is the distribution-free one from order statistics: the k-th smallest and k-th
largest value enclose the true median with a chance of 1 - 2·P(Binomial(n, 1/2) < k), whatever the
distribution.  k is the largest that still reaches 95 %: 20 runs give the 6th and the 15th value
(95.9 %).  Fewer than 6 runs cannot reach it; then the interval is all that was seen, and
``coverage_ppm`` says what that is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Final

from schemas.units import PPM

CONFIDENCE_PPM: Final = 950_000


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The median over seeds and the interval that holds the true one."""

    median: float
    low: float
    high: float
    runs: int


def figure_of(values: Sequence[float]) -> Figure:
    """Return the figure of at least one run's value."""
    ranked = sorted(values)
    rank = interval_rank(len(ranked))
    return Figure(median=median(ranked), low=ranked[rank - 1], high=ranked[-rank], runs=len(ranked))


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two in the middle."""
    ranked = sorted(values)
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


def interval_rank(runs: int) -> int:
    """Return k: the k-th smallest and largest of so many values bound the median (95 %)."""
    assert runs >= 1
    rank = 1
    while 2 * (rank + 1) <= runs and coverage_ppm(runs, rank + 1) >= CONFIDENCE_PPM:
        rank += 1
    return rank


def coverage_ppm(runs: int, rank: int) -> int:
    """Return the chance that the interval at this rank holds the true median, rounded down."""
    outside = sum(comb(runs, below) for below in range(rank))
    return max(0, PPM - -(-2 * outside * PPM // (1 << runs)))


def jain_index(shares: Sequence[float]) -> float | None:
    """Return (Σx)² ÷ (n·Σx²): 1 when all are equal, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else None
