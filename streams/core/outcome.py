"""Outcomes: what the ledger holds of one partition, and what one fold changes in it.

Plain data.  ``streams.core.ledger.fold`` makes an ``Outcome`` from records without touching the
states; once it is written to the changelog, ``apply`` puts it into memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec

from schemas.ledger import LedgerEntry, MarksEntry, MinuteEntry, PartitionEntry, TotalsEntry
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.usage import Headers
from schemas.verdicts import DeadReason, JudgedThrough, Verdict, VerdictCounts
from streams.core.marks import Marks
from streams.core.windows import MinuteKey

EntitlementKey = tuple[str, str]
"""Pool, entitlement."""


@dataclass(frozen=True)
class Place:
    """Which partition a fold reads, and who reads it."""

    partition: int
    partitions: int
    epoch: int = 0
    generation: int = 0


@dataclass
class States:
    """What the ledger holds of one partition."""

    partition: PartitionEntry | None = None
    totals: dict[EntitlementKey, TotalsEntry] = field(default_factory=dict)
    minutes: dict[MinuteKey, MinuteEntry] = field(default_factory=dict)
    marks: Marks = field(default_factory=Marks)

    @property
    def position(self) -> Position | None:
        """The last event folded in."""
        return None if self.partition is None else self.partition.position


@dataclass(frozen=True)
class Increment:
    """Served tokens of one accepted event, to be paid out over its production time."""

    pool: str
    entitlement: str
    cost_tokens: int
    duration_us: int


@dataclass(frozen=True)
class Forward:
    """A misplaced event, to be written into its own partition before the commit."""

    pool: str
    key: bytes | None
    value: bytes
    headers: Headers


@dataclass(frozen=True)
class Outcome:
    """What a fold changes; nothing of it is in memory before ``apply``."""

    partition: PartitionEntry | None = None
    """None: every record had been folded before."""
    totals: tuple[TotalsEntry, ...] = ()
    minutes: tuple[MinuteEntry, ...] = ()
    marks: MarksEntry | None = None
    closed_minutes: tuple[MinuteKey, ...] = ()
    dropped_blocks: int = 0
    dropped_by_budget: bool = False
    verdicts: tuple[Verdict, ...] = ()
    judged: JudgedThrough | None = None
    rollups: tuple[Rollup, ...] = ()
    forwards: tuple[Forward, ...] = ()
    increments: tuple[Increment, ...] = ()
    counts: VerdictCounts = field(default_factory=VerdictCounts)
    """Of this fold alone."""
    skipped: int = 0
    """Events that had been folded before."""

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """Every changed record of the table, the partition's last."""
        marks = () if self.marks is None else (self.marks,)
        partition = () if self.partition is None else (self.partition,)
        return (*self.totals, *self.minutes, *marks, *partition)

    @property
    def misses_spec(self) -> bool:
        """Whether an event died for want of a spec that may have been applied meanwhile."""
        wanted = (DeadReason.UNKNOWN_POOL, DeadReason.UNKNOWN_ENTITLEMENT)
        return any(verdict.reason in wanted for verdict in self.verdicts)


def apply(states: States, outcome: Outcome) -> None:
    """Put a written outcome into memory."""
    if outcome.partition is None:
        return
    states.partition = outcome.partition
    for totals in outcome.totals:
        states.totals[(totals.pool, totals.entitlement)] = totals
    for minute in outcome.minutes:
        states.minutes[(minute.pool, minute.entitlement, minute.minute_us)] = minute
    for key in outcome.closed_minutes:
        states.minutes.pop(key, None)
    states.marks.drop(outcome.dropped_blocks)
    if outcome.marks is not None:
        states.marks.add(outcome.marks)


def with_verdicts_offset(outcome: Outcome, verdicts_offset: int) -> Outcome:
    """Return the outcome naming the offset from which a new owner must read ``verdicts``."""
    if outcome.partition is None:
        return outcome
    partition = msgspec.structs.replace(outcome.partition, verdicts_offset=verdicts_offset)
    return replace(outcome, partition=partition)
