"""Law 2 on what is held: slots and KV cache never exceed capacity plus the exported bound.

Held is what gateways were let start and what has neither ended nor run out, over all admitters, the
reservations of killed incarnations included (``simulation.laws.shadow``).  The bound in force is
the one of the newest tick by version: it is exported at every tick, and says how far the states
that anybody may still follow reach.  A bound of an older tick would forgive what is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schemas.positions import NO_VERSION, Version
from schemas.ticks import Tick
from simulation.laws.broken import Broken
from simulation.laws.lines import TRIPLE_NAMES, Triple, triple
from simulation.laws.shadow import Stock

_NOTHING: Final[Triple] = (0, 0, 0)


@dataclass(slots=True)
class Holdings:
    """The limit in force for slots and KV cache."""

    version: Version = NO_VERSION
    capacity: Triple = _NOTHING
    bound: Triple = _NOTHING
    _judged: tuple[int, int] = (0, 0)

    def tick(self, tick: Tick) -> None:
        """Learn a bound; that of an older version is not in force any more."""
        if tick.version > self.version:
            self.version = tick.version
            self.capacity, self.bound = triple(tick.capacity), triple(tick.overshoot_bound)
            self._judged = (0, 0)

    def check(self, held: Stock) -> Iterator[Broken]:
        """Yield what is held beyond the limit."""
        now = (held.slots, held.kv_bytes)
        if now == self._judged:
            return
        self._judged = now
        for index, amount in ((2, held.slots), (1, held.kv_bytes)):
            limit = self.capacity[index] + self.bound[index]
            if amount > limit:
                text = (
                    f"{amount} {TRIPLE_NAMES[index]} are held, capacity {self.capacity[index]} "
                    f"and bound {self.bound[index]} of tick {self.version} allow {limit}"
                )
                yield Broken(2, "held", text)
