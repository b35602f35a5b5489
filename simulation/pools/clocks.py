"""Clocks: what a process reads at a virtual instant.

World time begins at 0 and is everybody's truth; nobody but the world reads it.  Wall clocks stand
at ``EPOCH_US`` plus world time plus a skew of their own; monotonic clocks begin anywhere and drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from admission.core.moment import Moment
from schemas.units import PPM, US_PER_MS, US_PER_S, ceil_div

EPOCH_US: Final = 1_800_000_000 * US_PER_S
"""The wall time at world time 0."""
BEFORE_ALL_US: Final = -(1 << 62)
"""World time before anything: also the warm-up has passed it."""
OFFSET_US_MIN: Final = 1_000 * US_PER_S
OFFSET_US_MAX: Final = 1_000_000 * US_PER_S


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks of one process."""

    offset_us: int = OFFSET_US_MIN
    """Of the monotonic clock at world time 0."""
    drift_ppm: int = 0
    skew_us: int = 0
    """Of the wall clock."""

    def wall_us(self, now_us: int) -> int:
        """Return the wall clock."""
        return EPOCH_US + now_us + self.skew_us

    def moment(self, now_us: int) -> Moment:
        """Return both clocks."""
        mono_us = self.offset_us + now_us + now_us * self.drift_ppm // PPM
        return Moment(mono_us, EPOCH_US + now_us + self.skew_us)

    def world_us(self, mono_us: int) -> int:
        """Return the world time at which the monotonic clock shows at least ``mono_us``."""
        return ceil_div((mono_us - self.offset_us) * PPM, PPM + self.drift_ppm)


def drawn(random: Random, *, drift_ppm_max: int, skew_ms_max: int) -> Clock:
    """Return a clock within the bounds."""
    return Clock(
        offset_us=random.randint(OFFSET_US_MIN, OFFSET_US_MAX),
        drift_ppm=random.randint(-drift_ppm_max, drift_ppm_max),
        skew_us=random.randint(-skew_ms_max, skew_ms_max) * US_PER_MS,
    )


def broker_us(now_us: int) -> int:
    """Return the broker's timestamp: whole milliseconds."""
    return (EPOCH_US + now_us) // US_PER_MS * US_PER_MS
