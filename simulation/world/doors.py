"""Doors: which of a policy's doors a gateway asks first, and which last.

The same rules as the product's gateway client has: in turn, a door that could not answer comes
last for a while, and the home comes first once it is known to have the whole floor.  A tenant may
also choose at random or stick to one door.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from schemas.units import US_PER_S
from simulation.world.scenario import DoorChoice

SUSPECT_US: Final = 2 * US_PER_S
"""How long a door that could not answer is asked last."""


class Doors:
    """One gateway's view of the doors of a policy."""

    def __init__(self, count: int, choice: DoorChoice, rng: random.Random) -> None:
        assert count >= 1
        self._count = count
        self._choice = choice
        self._rng = rng
        self._next = rng.randrange(count)
        self._home: int | None = None
        self._suspect_until_us: dict[int, int] = {}

    def order(self, *, now_us: int, avoid: int | None = None) -> Sequence[int]:
        """Return all doors in the order in which to ask them; ``avoid`` comes last if it can."""
        if self._count == 1:
            return (0,)
        start = self._start() if avoid is None else (avoid + 1) % self._count
        turned = [*range(start, self._count), *range(start)]
        if self._home is None and not self._suspect_until_us:
            return turned
        return sorted(turned, key=lambda door: (self._is_suspect(door, now_us), door != self._home))

    def others(self, door: int) -> Sequence[int]:
        """Return every other door, for a question that this one cannot answer."""
        return [*range(door + 1, self._count), *range(door)]

    def has_home(self, door: int) -> None:
        """Ask there first from now on."""
        self._home = door

    def failed(self, door: int, *, now_us: int) -> None:
        """Ask it last for a while."""
        self._suspect_until_us[door] = now_us + SUSPECT_US

    def answered(self, door: int) -> None:
        """Trust it again."""
        self._suspect_until_us.pop(door, None)

    def _is_suspect(self, door: int, now_us: int) -> bool:
        return self._suspect_until_us.get(door, now_us) > now_us

    def _start(self) -> int:
        match self._choice:
            case DoorChoice.ROUND_ROBIN:
                self._next = (self._next + 1) % self._count
                return self._next
            case DoorChoice.RANDOM:
                return self._rng.randrange(self._count)
            case DoorChoice.STICKY:
                return self._next
