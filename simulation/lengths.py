"""Lengths: how many tokens a request brings and gets, drawn from a distribution with bounds."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LogNormal:
    """A log-normal: half of the draws lie below the median; the rest is a long tail.

    ``sigma_percent`` is 100 × the standard deviation of the logarithm (0: always the median);
    a draw outside ``[low, high]`` becomes the nearer bound.
    """

    median: int
    sigma_percent: int
    low: int = 1
    high: int = 32_768


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Buckets ``(low, high, weight)``: a bucket by weight, then any whole number in it."""

    buckets: tuple[tuple[int, int, int], ...]


Lengths = LogNormal | Histogram


def exactly(tokens: int) -> LogNormal:
    """Return the distribution that always gives this many tokens."""
    return LogNormal(median=tokens, sigma_percent=0, low=0)


def between(low: int, high: int) -> Histogram:
    """Return the distribution in which every length from low to high is as likely."""
    return Histogram(buckets=((low, high, 1),))


def draw_length(lengths: Lengths, rng: random.Random) -> int:
    """Return one length in tokens; uses ``rng`` and nothing else."""
    match lengths:
        case LogNormal():
            mean = math.log(max(1, lengths.median))
            drawn = round(rng.lognormvariate(mean, lengths.sigma_percent / 100))
            return min(max(drawn, lengths.low), lengths.high)
        case Histogram():
            weights = [weight for _, _, weight in lengths.buckets]
            low, high, _ = rng.choices(lengths.buckets, weights=weights)[0]
            return rng.randint(low, high)
