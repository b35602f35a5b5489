"""Eviction: which preemptible reservations must go so that enough slots and KV cache come free?

The smallest number, and of equals the youngest (they lose the least work).  ``victims`` takes,
again and again, the candidate that frees most of what is still missing, each dimension measured by
what was wanted of it, then gives back whoever turned out not to be needed, oldest first.

* It is the smallest number when one dimension alone is short, or when all candidates hold equally
  many slots (one each, as a rule): what is taken is then always the largest that is left, until one
  or more could cover the rest alone, of whom the youngest goes.
* Otherwise it is at most twice the smallest number.  The k largest by slots, k the fewest that free
  the slots, and the m largest by KV, m the fewest that free the KV, free both, and no choice has
  fewer than max(k, m); where the greedy choice has more than those, they are taken.

The smallest number in both dimensions at once is a covering problem for which no fast way is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from admission.core.reservations import Open
from schemas.units import US_PER_MS, US_PER_S, ceil_div

CANDIDATES_MAX: Final = 256
"""Of a pool's preemptible reservations so many of the youngest are looked at: bounds the time."""


class Space(Struct, frozen=True, gc=False):
    """Slots and KV cache that something needs, or that its end would free."""

    slots: int = 0
    kv_bytes: int = 0

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is needed in either dimension."""
        return self.slots <= 0 and self.kv_bytes <= 0

    def plus(self, other: Space) -> Space:
        """Return the sum."""
        return Space(self.slots + other.slots, self.kv_bytes + other.kv_bytes)

    def less(self, other: Space) -> Space:
        """Return the difference."""
        return Space(self.slots - other.slots, self.kv_bytes - other.kv_bytes)

    def at_most(self, other: Space) -> Space:
        """Return the smaller of the two in each dimension, at least nothing."""
        return Space(
            max(0, min(self.slots, other.slots)), max(0, min(self.kv_bytes, other.kv_bytes))
        )


NO_SPACE: Final = Space()


class Eviction(Struct, frozen=True, gc=False):
    """Who was told to stop, and what that frees.  The ids never leave the admitter."""

    reservation_ids: tuple[str, ...]
    slots: int
    kv_bytes: int
    gone_in_ms: int
    """When the last of them must be gone."""


def victims(candidates: Sequence[Open], *, wanted: Space) -> list[Open]:
    """Return who must go; ``candidates`` come youngest first.  Nobody, where all are not enough."""
    if wanted.is_nothing or not _cover(candidates, wanted):
        return []
    chosen = _without_the_needless(_greedy(candidates, wanted), candidates, wanted)
    largest = _largest_of_each(candidates, wanted)
    return largest if len(largest) < len(chosen) else chosen


def held_by(items: Sequence[Open]) -> Space:
    """Return what these reservations hold."""
    return Space(sum(item.slots for item in items), sum(item.kv_bytes for item in items))


def gone_in_ms(item: Open, *, grace_s: int, now_us: int) -> int:
    """Return the time until a reservation that was told to stop must be gone, rounded up.

    Not told yet, it is told at its next renewal; if that never comes it expires.
    """
    told_us = max(now_us, item.renewed_us + item.renew_ms * US_PER_MS) + grace_s * US_PER_S
    gone_us = told_us if item.evict_us is None else item.evict_us
    return max(0, ceil_div(gone_us - now_us, US_PER_MS))


def _greedy(candidates: Sequence[Open], wanted: Space) -> list[Open]:
    left, slots, kv_bytes = list(candidates), wanted.slots, wanted.kv_bytes
    chosen: list[Open] = []
    while slots > 0 or kv_bytes > 0:
        best = max(left, key=lambda item: _freed(item, slots, kv_bytes, wanted))
        left.remove(best)
        chosen.append(best)
        slots, kv_bytes = slots - best.slots, kv_bytes - best.kv_bytes
    return chosen


def _freed(item: Open, slots: int, kv_bytes: int, wanted: Space) -> int:
    """Return how much of what is missing the item frees, in parts of slots x KV wanted."""
    freed = min(item.slots, slots) * max(1, wanted.kv_bytes) if slots > 0 else 0
    if kv_bytes > 0:
        freed += min(item.kv_bytes, kv_bytes) * max(1, wanted.slots)
    return freed


def _without_the_needless(
    chosen: Sequence[Open], candidates: Sequence[Open], wanted: Space
) -> list[Open]:
    numbers = {item.number for item in chosen}
    kept = [item for item in candidates if item.number in numbers]
    for item in reversed(kept):
        rest = [each for each in kept if each is not item]
        if _cover(rest, wanted):
            kept = rest
    return kept


def _largest_of_each(candidates: Sequence[Open], wanted: Space) -> list[Open]:
    """Return the fewest that free the slots, and the fewest that free the KV."""
    by_slots = _prefix(candidates, wanted.slots, lambda item: item.slots)
    by_kv = _prefix(candidates, wanted.kv_bytes, lambda item: item.kv_bytes)
    numbers = {item.number for item in by_slots}
    return by_slots + [item for item in by_kv if item.number not in numbers]


def _prefix(candidates: Sequence[Open], wanted: int, size: Callable[[Open], int]) -> list[Open]:
    chosen: list[Open] = []
    for item in sorted(candidates, key=size, reverse=True):
        if wanted <= 0:
            break
        chosen.append(item)
        wanted -= size(item)
    return chosen


def _cover(items: Sequence[Open], wanted: Space) -> bool:
    freed = held_by(items)
    return freed.slots >= wanted.slots and freed.kv_bytes >= wanted.kv_bytes
