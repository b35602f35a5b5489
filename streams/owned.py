"""Owned: one partition of the ledger while this worker owns it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from streams.core.judge import NOTHING_BOUND, Bound
from streams.core.outcome import Place, States

FOLD_RECORDS_MAX: Final = 20_000
GROWTH: Final = 8
"""After a fold that did not fit, each one that does is followed by one an eighth larger."""


@dataclass
class Owned:
    """One partition while this worker owns it."""

    place: Place
    states: States
    generations: dict[bytes, int] = field(default_factory=dict)
    """Of the bases that are still stored under an earlier generation."""
    bound: Bound = NOTHING_BOUND
    verdicts_offset: int = 0
    """What was published before it has been acknowledged."""
    records_max: int = FOLD_RECORDS_MAX
    """Halved when a fold did not fit one record batch; grows again."""
    folded_s: float = 0.0
    """When something was folded last, on the monotonic clock."""

    def grow(self) -> None:
        """Let the next fold be a little larger."""
        grown = self.records_max + self.records_max // GROWTH + 1
        self.records_max = min(FOLD_RECORDS_MAX, grown)

    @property
    def folded_through(self) -> int:
        """The last offset folded in of the present epoch; -1: none."""
        position = self.states.position
        return position.offset if position and position.epoch == self.place.epoch else -1
