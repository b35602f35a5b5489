"""Pending demand: what was refused for contention and will probably come back.

A refused request stays pending under its request id until its Retry-After has passed plus two
ticks, so that a client that waits as it was told does not vanish from the demand; a retry of the
same id replaces it, so it counts once.  ``withdrawn`` is the same for tickets of *other*
admitters that came back here: they are still pending there, and streams takes them off.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

from schemas.units import NOTHING, Resources

ENTRIES_MAX: Final = 8_192
"""Per entitlement; beyond it the entry that lapses first makes room."""


@dataclass(slots=True)
class Pending:
    """Unmet demand of one entitlement by key, and its sum."""

    total: Resources = NOTHING
    entries: dict[str, tuple[int, Resources]] = field(default_factory=dict)
    _lapses: list[tuple[int, str]] = field(default_factory=list)

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def put(self, key: str, demand: Resources, *, lapse_us: int) -> None:
        """Count the demand under its key until ``lapse_us``; it replaces an earlier one."""
        self.take(key)
        while len(self.entries) >= ENTRIES_MAX:
            self._drop_first()
        self.entries[key] = (lapse_us, demand)
        self.total += demand
        heapq.heappush(self._lapses, (lapse_us, key))
        if len(self._lapses) > 2 * ENTRIES_MAX:
            self._lapses = sorted((lapse, name) for name, (lapse, _) in self.entries.items())

    def take(self, key: str) -> bool:
        """Stop counting a key; say whether it was counted."""
        entry = self.entries.pop(key, None)
        if entry is None:
            return False
        self.total -= entry[1]
        return True

    def lapse(self, now_us: int) -> None:
        """Stop counting what has lapsed."""
        while self._lapses and self._lapses[0][0] <= now_us:
            self._drop_first()

    def _drop_first(self) -> None:
        """Drop the entry that lapses first, or a note of one that was replaced or taken."""
        lapse_us, key = heapq.heappop(self._lapses)
        entry = self.entries.get(key)
        if entry is not None and entry[0] == lapse_us:
            self.take(key)
