"""Agenda: what the world itself has to do, in the order of time and then of being noted.

An entry may belong to a request; one whose request is over is dropped when it comes up, so that
nobody needs to look for it earlier.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from simulation.world.requests import Request

Act = Callable[[int], None]
"""Does what is due; given the time in microseconds."""


class Agenda:
    """A heap of (time, order of noting, act, whose)."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Act, Request | None]] = []
        self._noted = 0

    def note(self, at_us: int, act: Act, *, request: Request | None = None) -> None:
        """Do this then, unless the request is over by then."""
        self._noted += 1
        heapq.heappush(self._entries, (at_us, self._noted, act, request))

    def next_us(self) -> int | None:
        """Return when something is due; None when nothing ever is."""
        entries = self._entries
        while entries:
            at_us, _, _, request = entries[0]
            if request is None or not request.is_over:
                return at_us
            heapq.heappop(entries)
        return None

    def take(self) -> Act:
        """Return what ``next_us`` spoke of."""
        return heapq.heappop(self._entries)[2]
