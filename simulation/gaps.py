"""Gaps: the time between two requests of one tenant, with mean 1, by family and variation.

``cv_percent`` is 100 × the coefficient of variation (standard deviation ÷ mean) of the gaps:
100 is Poisson traffic, more is burstier, less is more regular.
"""

from __future__ import annotations

import math
import random
from enum import StrEnum
from functools import cache
from typing import Final

CV_PERCENT_MAX: Final = 2_000
_STEPS: Final = 80


class GapFamily(StrEnum):
    """The distribution of the gaps."""

    POISSON = "poisson"
    """Exponential gaps; the variation is 1 whatever is asked for."""
    GAMMA = "gamma"
    WEIBULL = "weibull"


def draw_gap(family: GapFamily, cv_percent: int, rng: random.Random) -> float:
    """Return one gap of mean 1; uses ``rng`` and nothing else."""
    assert 0 < cv_percent <= CV_PERCENT_MAX
    match family:
        case GapFamily.POISSON:
            return rng.expovariate(1)
        case GapFamily.GAMMA:
            shape = (100 / cv_percent) ** 2
            return rng.gammavariate(shape, 1 / shape)
        case GapFamily.WEIBULL:
            shape = weibull_shape(cv_percent)
            return rng.weibullvariate(1 / math.gamma(1 + 1 / shape), shape)


@cache
def weibull_shape(cv_percent: int) -> float:
    """Return the shape whose gaps vary this much, by halving an interval in its logarithm.

    The cache holds one number per variation in use: at most ``CV_PERCENT_MAX`` of them.
    """
    low, high = math.log(0.1), math.log(100)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _weibull_cv(math.exp(middle)) > cv_percent / 100:
            low = middle
        else:
            high = middle
    return math.exp(low)


def _weibull_cv(shape: float) -> float:
    first, second = math.lgamma(1 + 1 / shape), math.lgamma(1 + 2 / shape)
    return math.sqrt(math.expm1(second - 2 * first))
