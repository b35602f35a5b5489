"""Chaos: draws the timed faults from the seed, one stream of chance for each kind.

A kind's next fault is drawn when the last one has begun, so that worlds of any length have the same
faults as far as they go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from schemas.units import US_PER_S
from simulation.pools.agenda import Agenda
from simulation.pools.faults import (
    FaultKind,
    Faults,
    Stage,
    TimedFault,
    gap_us,
    lasting_us,
)

HAPPENED_MAX: Final = 10_000

Strike = Callable[[TimedFault, int], bool]
"""Lets a fault happen; says whether it could."""


@dataclass
class Chaos:
    """Lets faults happen."""

    seed: str
    faults: Faults
    doors: int
    agenda: Agenda
    strike: Strike
    happened: list[TimedFault] = field(default_factory=list)
    """Those that did, in order: at most ``HAPPENED_MAX`` are kept."""
    _random: dict[FaultKind, Random] = field(default_factory=dict)

    def begin(self, now_us: int, ordered: tuple[TimedFault, ...] = ()) -> None:
        """Draw the first fault of each kind; let ordered ones come at their times."""
        for kind, span in self.faults.timed.items():
            self._random[kind] = Random(f"{self.seed}/faults/{kind}")
            if span.every_s:
                self._draw(kind, now_us)
        for fault in ordered:
            self.agenda.at(fault.at_us, partial(self._happen, fault))

    def _draw(self, kind: FaultKind, now_us: int) -> None:
        span, random = self.faults.timed[kind], self._random[kind]
        at_us = now_us + max(1, gap_us(span, random.expovariate(1)))
        fault = TimedFault(
            at_us=at_us,
            kind=kind,
            door=random.randrange(self.doors),
            lasts_us=lasting_us(span, random.random()),
            stage=random.choice(list(Stage)),
        )
        if self.faults.calm_after_us is None or at_us <= self.faults.calm_after_us:
            self.agenda.at(at_us, partial(self._drawn, fault))

    def _drawn(self, fault: TimedFault, now_us: int) -> None:
        self._happen(fault, now_us)
        self._draw(fault.kind, now_us)

    def _happen(self, fault: TimedFault, now_us: int) -> None:
        if self.strike(fault, now_us) and len(self.happened) < HAPPENED_MAX:
            self.happened.append(fault)


def describe(fault: TimedFault) -> str:
    """Return what a story says of it besides its kind."""
    stage = f", {fault.stage}" if fault.kind is FaultKind.CRASH else ""
    return f"for {fault.lasts_us / US_PER_S:.2f} s{stage}"
