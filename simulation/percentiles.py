"""Percentiles: of whole numbers, by nearest rank, so that the answer is one of the values seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.units import PPM, ceil_div

P50_PPM: Final = 500_000
P99_PPM: Final = 990_000


def percentile(values: Iterable[int], quantile_ppm: int) -> int | None:
    """Return the smallest value that at least the quantile of the values do not exceed.

    None when there are no values: an unknown percentile is not 0.
    """
    assert 0 < quantile_ppm <= PPM
    ranked = sorted(values)
    if not ranked:
        return None
    return ranked[ceil_div(len(ranked) * quantile_ppm, PPM) - 1]


def p99(values: Iterable[int]) -> int | None:
    """Return the 99th percentile."""
    return percentile(values, P99_PPM)
