"""The journal: decisions waiting to be written to the topic ``decisions``.

Refusals, demotions, evictions, expiries and adoptions are noted singly; admits, settlements and
releases are counted and noted once per tick.  The queue is bounded: when it is full the new entry
is dropped and counted, and every later entry carries the count.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from schemas.decisions import Decision, DecisionKind

QUEUE_MAX: Final = 10_000


@dataclass(slots=True)
class Journal:
    """The decisions of one incarnation, numbered."""

    incarnation: str
    queue_max: int = QUEUE_MAX
    dropped: int = 0
    _number: int = 0
    _queue: deque[Decision] = field(default_factory=deque)
    _counted: dict[tuple[str, str, DecisionKind], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._queue)

    def note(
        self, kind: DecisionKind, *, at_us: int, pool: str, entitlement: str, **rest: Any
    ) -> None:
        """Queue one decision; ``rest`` are further fields of ``Decision``."""
        self._number += 1
        if len(self._queue) >= self.queue_max:
            self.dropped += 1
            return
        self._queue.append(
            Decision(
                id=f"{self.incarnation}/{self._number}",
                at_us=at_us,
                incarnation=self.incarnation,
                pool=pool,
                entitlement=entitlement,
                kind=kind,
                **rest,
            )
        )

    def count(self, kind: DecisionKind, *, pool: str, entitlement: str) -> None:
        """Count one decision of a kind that is written once per tick."""
        key = (pool, entitlement, kind)
        self._counted[key] = self._counted.get(key, 0) + 1

    def close_tick(self, pool: str, *, at_us: int) -> None:
        """Turn the pool's counts since the last tick into one decision each."""
        for key in [key for key in self._counted if key[0] == pool]:
            _, entitlement, kind = key
            count = self._counted.pop(key)
            self.note(kind, at_us=at_us, pool=pool, entitlement=entitlement, count=count)

    def take(self, most: int) -> list[Decision]:
        """Remove and return the oldest decisions, at most ``most``."""
        taken = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        return [replace(decision, dropped=self.dropped) for decision in taken]
