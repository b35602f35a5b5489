"""Wire: a simulated Kafka, as far as its readers can tell.

A record reaches each reader after a delay of its own, in the order in which it was put unless it is
overtaken; it may be lost or repeated (``Delivery`` says what of this a broker really does).  A
reader that is cut off, or whose process stands still, gets everything later and in order; a closed
one gets nothing.  A compacted topic hands a new reader the newest record of every key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from schemas.units import PPM, US_PER_MS
from simulation.pools.agenda import Agenda
from simulation.pools.clocks import BEFORE_ALL_US, broker_us
from simulation.pools.faults import Delivery


class Stored(NamedTuple):
    """One record."""

    key: bytes
    value: bytes
    stored_us: int
    """The broker's timestamp."""


Handler = Callable[[Stored, int], None]
"""Takes a record, and the world's time."""


@dataclass(slots=True)
class Reader:
    """One process that follows one topic."""

    name: str
    handle: Handler
    reachable_us: int = BEFORE_ALL_US
    """Nothing arrives before."""
    closed: bool = False
    _last_us: int = BEFORE_ALL_US

    def cut_off(self, until_us: int) -> None:
        """Let nothing arrive until then."""
        self.reachable_us = max(self.reachable_us, until_us)

    def in_order(self, due_us: int) -> int:
        """Return when a record arrives that must not overtake those before it."""
        self._last_us = max(self._last_us, due_us)
        return self._last_us


@dataclass(slots=True)
class Topic:
    """One partition of a topic, its readers, and what happens between them."""

    name: str
    agenda: Agenda
    delivery: Delivery
    random: Random
    counts: Counter[str] = field(default_factory=Counter)
    """put, lost, repeated, overtaken, delivered, held (by a cut), compacted (after it), unread."""
    readers: list[Reader] = field(default_factory=list)
    latest: dict[bytes, Stored] = field(default_factory=dict)
    """By key; what compaction leaves."""

    def put(self, key: bytes, value: bytes | None, *, now_us: int) -> None:
        """Write a record; None takes its key away."""
        self.counts["put"] += 1
        if value is None:
            self.latest.pop(key, None)
            return
        record = self.latest[key] = Stored(key, value, broker_us(now_us))
        self.readers = [reader for reader in self.readers if not reader.closed]
        for reader in self.readers:
            self._carry(reader, record, now_us=now_us)

    def join(self, reader: Reader, *, now_us: int, from_beginning: bool) -> None:
        """Follow the topic: from its end, or from what compaction has left of its beginning."""
        self.readers.append(reader)
        if from_beginning:
            for record in self.latest.values():
                due_us = reader.in_order(now_us + self._delay_us())
                self._arrive_at(due_us, reader, record)

    def _carry(self, reader: Reader, record: Stored, *, now_us: int) -> None:
        if self._happens(self.delivery.lost_ppm):
            self.counts["lost"] += 1
            return
        due_us = now_us + self._delay_us()
        if self._happens(self.delivery.overtaken_ppm):
            self.counts["overtaken"] += 1
            due_us += self.random.randint(0, self.delivery.overtaken_ms_max) * US_PER_MS
        else:
            due_us = reader.in_order(due_us)
        self._arrive_at(due_us, reader, record)
        if self._happens(self.delivery.repeated_ppm):
            self.counts["repeated"] += 1
            self._arrive_at(due_us + self._delay_us(), reader, record)

    def _arrive_at(self, due_us: int, reader: Reader, record: Stored) -> None:
        def arrive(at_us: int) -> None:
            if reader.closed:
                self.counts["unread"] += 1
            elif at_us < reader.reachable_us:
                self.counts["held"] += 1
                self.agenda.at(reader.reachable_us, arrive)
            elif at_us > due_us and self._is_compacted(record):
                self.counts["compacted"] += 1
            else:
                self.counts["delivered"] += 1
                reader.handle(record, at_us)

        self.agenda.at(due_us, arrive)

    def _is_compacted(self, record: Stored) -> bool:
        """Say whether the broker has dropped a record that came too late for its key."""
        superseded = self.latest.get(record.key) is not record
        return superseded and self._happens(self.delivery.compacted_ppm)

    def _delay_us(self) -> int:
        bounds = self.delivery
        return self.random.randint(bounds.delay_ms_min, bounds.delay_ms_max) * US_PER_MS

    def _happens(self, rate_ppm: int) -> bool:
        return rate_ppm > 0 and self.random.randrange(PPM) < rate_ppm
