"""Agenda: what happens next?  Actions by time, and in the order in which they were put for one."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

Action = Callable[[int], None]
"""Is told the time at which it happens."""


@dataclass(slots=True)
class Agenda:
    """Actions that are still to come."""

    done: int = 0
    """Actions that have happened."""
    _heap: list[tuple[int, int, Action]] = field(default_factory=list)
    _put: int = 0

    @property
    def next_us(self) -> int | None:
        """When the next action happens; None when there is none."""
        return self._heap[0][0] if self._heap else None

    def at(self, at_us: int, action: Action) -> None:
        """Let the action happen then."""
        self._put += 1
        heapq.heappush(self._heap, (at_us, self._put, action))

    def run(self, until_us: int) -> None:
        """Let everything happen that is due up to ``until_us``, what it puts itself included."""
        while self._heap and self._heap[0][0] <= until_us:
            at_us, _, action = heapq.heappop(self._heap)
            self.done += 1
            action(at_us)
