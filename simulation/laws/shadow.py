"""Shadow: the judge's own book of every reservation, kept from what gateways were told.

It knows nothing but answers, so it can be compared with what admitters hold (law 7) and summed up
over all of them, the incarnations that were killed included (law 2).  A request counts from the
answer that let it start until it is settled or its time runs out; at a dead incarnation also until
its gateway stops trying to settle it, or another admitter adopts it.  All times are world time.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field

from admission.core.reservations import Open
from schemas.specs import ServiceClass


@dataclass(slots=True, eq=False)
class Entry:
    """One reservation."""

    handle: str
    uid: str
    door: int
    incarnation: str
    item: Open
    """As its admitter keeps it; read for its expiry only."""
    tokens: int
    kv_bytes: int
    slots: int
    served_class: ServiceClass
    demoted: bool
    adopted: bool
    started_us: int
    until_us: int
    counts: bool = True
    """Whether its request may run at the engine."""
    ended: str = ""
    """How it ended at its admitter; "" while it is open there."""
    orphan: bool = False
    """Its incarnation has ended."""
    charged_late: bool = False
    told_to_stop: bool = False


@dataclass(slots=True)
class Stock:
    """Slots and KV cache of some reservations."""

    slots: int = 0
    kv_bytes: int = 0
    tokens: int = 0

    def add(self, entry: Entry, sign: int) -> None:
        """Add one, or take it away."""
        self.slots += sign * entry.slots
        self.kv_bytes += sign * entry.kv_bytes
        self.tokens += sign * entry.tokens


@dataclass(slots=True)
class Shadow:
    """All reservations, and the sums of those that count."""

    entries: dict[str, Entry] = field(default_factory=dict)
    held: Stock = field(default_factory=Stock)
    """What counts, over all admitters and graves."""
    by_entitlement: defaultdict[str, Stock] = field(default_factory=lambda: defaultdict(Stock))
    """What counts and was not demoted."""
    by_place: defaultdict[tuple[int, str], Stock] = field(
        default_factory=lambda: defaultdict(Stock)
    )
    """Open at the present incarnation of a door and not demoted, by (door, entitlement)."""
    open_at: defaultdict[int, set[Entry]] = field(default_factory=lambda: defaultdict(set))
    """Open at the present incarnation of a door."""
    _expiries: list[tuple[int, str]] = field(default_factory=list)

    def open(self, entry: Entry) -> None:
        """Enter a reservation that an answer has just given."""
        self.entries[entry.handle] = entry
        self._count(entry, 1)
        if not entry.demoted:
            self.by_place[entry.door, entry.uid].add(entry, 1)
        self.open_at[entry.door].add(entry)
        self.expect(entry)

    def expect(self, entry: Entry) -> None:
        """Look at it again when its time has run out; call it when that time changes."""
        heapq.heappush(self._expiries, (entry.until_us, entry.handle))

    def end(self, entry: Entry, how: str) -> None:
        """End it at its admitter, and as a request."""
        if not entry.ended and not entry.orphan:
            self._leave(entry)
        entry.ended = entry.ended or how
        self.stop(entry)

    def stop(self, entry: Entry) -> None:
        """Count its request no longer."""
        if entry.counts:
            self._count(entry, -1)
            entry.counts = False

    def bury(self, door: int) -> list[Entry]:
        """Keep what an incarnation had open when it ended; return it."""
        buried = list(self.open_at[door])
        for entry in buried:
            self._leave(entry)
            entry.orphan = True
        return buried

    def expire(self, now_us: int) -> None:
        """End what has run out by now."""
        while self._expiries and self._expiries[0][0] <= now_us:
            _, handle = heapq.heappop(self._expiries)
            entry = self.entries[handle]
            if entry.ended or (entry.orphan and not entry.counts):
                continue
            if entry.until_us > now_us:
                self.expect(entry)
            elif entry.orphan:
                self.stop(entry)
            else:
                self.end(entry, "expired")

    @property
    def next_expiry_us(self) -> int | None:
        """Return when ``expire`` has something to look at."""
        return self._expiries[0][0] if self._expiries else None

    def _leave(self, entry: Entry) -> None:
        if not entry.demoted:
            self.by_place[entry.door, entry.uid].add(entry, -1)
        self.open_at[entry.door].discard(entry)

    def _count(self, entry: Entry, sign: int) -> None:
        self.held.add(entry, sign)
        if not entry.demoted:
            self.by_entitlement[entry.uid].add(entry, sign)
