"""The account: what a generator has sent, and what must be counted of it, whatever is killed.

Plain data.  Each event has a key: its tag, or its source and id.  The account says what must become
of a key (counted once, late, dead), not how many copies of it the log holds: a send that is
repeated after a broker fault makes copies, and so does a forward that is repeated after a crash.
Amounts are whole tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

TAG_HEADER: Final = "faults-tag"
"""Names an event that has no readable id, or the id of another one."""

Owner = tuple[str, str]
"""Pool, entitlement."""


class Fate(StrEnum):
    """What must become of an event in its own partition."""

    COUNTED = "counted"
    """Its first copy is accepted, every other one is a duplicate."""
    LATE = "late"
    DEAD = "dead"


class Sums(NamedTuple):
    """Tokens by class, and events."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    events: int = 0

    def plus(self, other: Sums) -> Sums:
        """Return both together."""
        return Sums(*(mine + its for mine, its in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Expected:
    """What must become of the events with one key."""

    fate: Fate
    pool: str = ""
    """The pool whose partition is its own; empty: nobody can tell, so it is judged where it is."""
    entitlement: str = ""
    sums: Sums = field(default_factory=Sums)


@dataclass
class Account:
    """What one generator has sent."""

    expected: dict[str, Expected] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)

    def expect(self, key: str, expected: Expected) -> None:
        """Say what must become of a key; saying something else of it later is our own bug."""
        assert self.expected.setdefault(key, expected) == expected, key

    def acknowledge(self, keys: Iterable[str]) -> None:
        """The broker has these."""
        self.acknowledged.update(keys)

    def sums(self) -> dict[Owner, Sums]:
        """Return what the ledger and ClickHouse must hold."""
        return summed(self.expected)


def summed(expected: Mapping[str, Expected]) -> dict[Owner, Sums]:
    """Return the sums of what is counted."""
    totals: dict[Owner, Sums] = {}
    for each in expected.values():
        if each.fate is Fate.COUNTED:
            owner = (each.pool, each.entitlement)
            totals[owner] = totals.get(owner, Sums()).plus(each.sums)
    return totals
