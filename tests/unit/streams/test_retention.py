"""What leaves the ledger's table: over simulated days its records and bytes stay bounded.

    day 1            day 2              day 3
    |----fills-------|----full----------|----full---- ...
    windows close after their lateness, marks after the horizon; both leave with a tombstone.

The table is a dict that takes what the changelog would: after compaction a changelog holds the
last value of each key and no tombstones, so the dict is the compacted changelog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import pytest

from schemas.units import US_PER_HOUR, US_PER_S
from schemas.usage import UsageEvent
from streams.core.judge import Record
from streams.core.ledger import fold
from streams.core.outcome import Outcome, Place, States, apply
from streams.core.restore import changes_of, restore, rewritten, stored_key
from tests.unit.streams.builders import HOME, NOW_US, PARTITIONS, SPECS, record, total, usage

RECORD_US: Final = 150 * US_PER_S
"""Stored time between two records; two make a fold."""
FRAME_EVENTS: Final = 20
EVENTS_AN_HOUR: Final = 24 * FRAME_EVENTS
TRAVEL_US: Final = 5 * US_PER_S
"""The events of a frame travelled for 5 s, 10 s, ...; one in ten much longer than a second's or a
minute's window waits."""
LONG_US: Final = 15 * 60 * US_PER_S


@dataclass
class Ledger:
    """One partition's ledger and the table that mirrors it."""

    generation: int = 1
    states: States = field(default_factory=States)
    generations: dict[bytes, int] = field(default_factory=dict)
    table: dict[bytes, bytes] = field(default_factory=dict)
    events: int = 0

    @property
    def table_bytes(self) -> int:
        """The bytes of all keys and values."""
        return sum(len(key) + len(value) for key, value in self.table.items())

    def take(self, records: list[Record]) -> Outcome:
        """Fold, write and apply."""
        place = Place(HOME, PARTITIONS, generation=self.generation)
        outcome = fold(self.states, records, specs=SPECS, place=place)
        changes = changes_of(
            outcome, self.states, generations=self.generations, generation=self.generation
        )
        rewritten(outcome, self.states, self.generations)
        apply(self.states, outcome)
        self.events += outcome.counts.accepted
        for key, value in changes:
            if value is None:
                self.table.pop(key, None)
            else:
                self.table[key] = value
        return outcome

    def hand_over(self) -> None:
        """Begin the next generation with what the table holds, as a new owner does."""
        restored = restore(self.table.items())
        self.generation += 1
        self.states, self.generations = restored.states, restored.generations


def numbered(number: int, event_us: int) -> UsageEvent:
    """Return an event of a gateway that numbers its events."""
    return usage(number, entitlement=f"e{number % 3}", event_us=event_us, numbered=True)


def unnumbered(number: int, event_us: int) -> UsageEvent:
    """Return an event of a gateway that does not."""
    return usage(number, entitlement=f"e{number % 3}", event_us=event_us)


def frame(make: Callable[[int, int], UsageEvent], offset: int) -> Record:
    """Return the record at this offset."""
    stored_us = NOW_US + offset * RECORD_US
    travelled = [(index + 1) * TRAVEL_US + (index % 10 == 9) * LONG_US for index in range(20)]
    first = offset * FRAME_EVENTS + 1
    events = [make(first + index, stored_us - each) for index, each in enumerate(travelled)]
    return record(events, offset, stored_us=stored_us)


def traffic(make: Callable[[int, int], UsageEvent]) -> Iterator[list[Record]]:
    """Yield folds' worth of records for ever."""
    for offset in count(0, 2):
        yield [frame(make, offset), frame(make, offset + 1)]


def run(ledger: Ledger, folds: Iterator[list[Record]], *, hours: int) -> None:
    """Take as many folds as these hours have."""
    for _ in range(hours * US_PER_HOUR // RECORD_US // 2):
        ledger.take(next(folds))


def memory(states: States) -> tuple[object, ...]:
    """Return what the states hold, whatever their inner order is."""
    return (
        states.partition,
        states.totals,
        states.windows,
        states.lines,
        states.replayed,
        states.bodies,
        dict(states.marks.remembered()),
    )


@pytest.mark.parametrize(
    ("make", "records_max"),
    [
        pytest.param(numbered, 900, id="numbered gateways: a line, and the newest bodies"),
        pytest.param(unnumbered, 900, id="unnumbered ones: the marks of the horizon"),
    ],
)
def test_records_and_bytes_of_the_table_stay_bounded_over_days(
    make: Callable[[int, int], UsageEvent], records_max: int
) -> None:
    ledger, folds = Ledger(), traffic(make)
    run(ledger, folds, hours=36)
    full_records, full_bytes = len(ledger.table), ledger.table_bytes

    run(ledger, folds, hours=24)

    assert ledger.events == 60 * EVENTS_AN_HOUR
    assert len(ledger.table) <= full_records <= records_max
    assert ledger.table_bytes <= full_bytes * 1.02
    assert total(ledger.states).total == 5 * ledger.events


@pytest.mark.parametrize("make", [numbered, unnumbered])
def test_the_compacted_changelog_is_the_memory_at_any_time(
    make: Callable[[int, int], UsageEvent],
) -> None:
    ledger, folds = Ledger(), traffic(make)
    for hours in (1, 25):
        run(ledger, folds, hours=hours)

        restored = restore(ledger.table.items())

        assert memory(restored.states) == memory(ledger.states)
        assert restored.superseded == ()


def test_a_day_after_a_takeover_no_record_of_the_former_owner_is_left() -> None:
    ledger, folds = Ledger(), traffic(unnumbered)
    run(ledger, folds, hours=26)
    before = len(ledger.table)
    ledger.hand_over()
    run(ledger, folds, hours=25)

    generations = {stored_key(key).generation for key in ledger.table}

    assert generations == {2}
    assert len(ledger.table) <= before
