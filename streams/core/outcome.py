"""Outcomes: what the ledger holds of one partition, and what one fold changes in it.

Plain data.  ``streams.core.ledger.fold`` makes an ``Outcome`` from records without touching the
states; once it is written to the changelog, ``apply`` puts it into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from schemas.ledger import (
    LedgerEntry,
    LineEntry,
    MarksEntry,
    NumberedEntry,
    PartitionEntry,
    ReplayedEntry,
    TotalsEntry,
    WindowEntry,
)
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.units import US_PER_HOUR, US_PER_MINUTE
from schemas.usage import Headers
from schemas.verdicts import DeadReason, JudgedThrough, Verdict, VerdictCounts
from streams.core.lines import Bodies, LineKey
from streams.core.marks import Marks

EntitlementKey = tuple[str, str]
"""Pool, entitlement."""
WindowSpan = tuple[int, int]
"""Length and start of a window in microseconds."""
WindowKey = tuple[WindowSpan, EntitlementKey]
SIZES: Final = 3
"""Windows come in three sizes: seconds, minutes, hours; each is published at its own pace."""


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
    windows: dict[WindowSpan, dict[EntitlementKey, WindowEntry]] = field(default_factory=dict)
    unpublished: tuple[dict[WindowKey, None], ...] = field(
        default_factory=lambda: tuple({} for _ in range(SIZES))
    )
    """By size: windows that changed since they were last published."""
    marks: Marks = field(default_factory=Marks)
    lines: dict[LineKey, LineEntry] = field(default_factory=dict)
    bodies: Bodies = field(default_factory=Bodies)
    replayed: dict[Position, ReplayedEntry] = field(default_factory=dict)

    @property
    def position(self) -> Position | None:
        """The last event folded in."""
        return None if self.partition is None else self.partition.position

    @property
    def has_unpublished(self) -> bool:
        """Whether ``rest`` has something to publish."""
        return any(self.unpublished)

    def window(self, key: WindowKey) -> WindowEntry | None:
        """Return an open window."""
        span, owner = key
        windows = self.windows.get(span)
        return None if windows is None else windows.get(owner)

    def all_windows(self) -> Iterator[WindowEntry]:
        """Yield every open window."""
        for windows in self.windows.values():
            yield from windows.values()


@dataclass(frozen=True)
class Increment:
    """Served tokens of one entitlement, to be paid out over their production time."""

    pool: str
    entitlement: str
    cost_tokens: int
    duration_us: int


@dataclass(frozen=True)
class Forward:
    """Misplaced events of one pool, to be written into their own partition before the commit."""

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
    windows: tuple[WindowEntry, ...] = ()
    marks: MarksEntry | None = None
    numbered: NumberedEntry | None = None
    lines: tuple[LineEntry, ...] = ()
    replayed: tuple[ReplayedEntry, ...] = ()
    closed_windows: tuple[WindowKey, ...] = ()
    published: tuple[int, ...] = ()
    """Sizes of which every changed window is among ``rollups``."""
    dropped_blocks: int = 0
    dropped_bodies: int = 0
    dropped_lines: tuple[LineKey, ...] = ()
    dropped_by_budget: bool = False
    gaps_closed: int = 0
    """Gaps of lines that were closed for want of room."""
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
        blocks = [each for each in (self.marks, self.numbered, self.partition) if each is not None]
        return (*self.totals, *self.windows, *self.lines, *self.replayed, *blocks)

    @property
    def misses_spec(self) -> bool:
        """Whether an event died for want of a spec that may have been applied meanwhile."""
        wanted = (DeadReason.UNKNOWN_POOL, DeadReason.UNKNOWN_ENTITLEMENT)
        return any(verdict.reason in wanted for verdict in self.verdicts)


def apply(states: States, outcome: Outcome) -> None:
    """Put an outcome into memory, once the record batch that writes it is built."""
    if outcome.partition is None:
        return
    states.partition = outcome.partition
    for totals in outcome.totals:
        states.totals[(totals.pool, totals.entitlement)] = totals
    _apply_windows(states, outcome)
    states.marks.drop(outcome.dropped_blocks)
    if outcome.marks is not None:
        states.marks.add(outcome.marks)
    states.bodies.drop(outcome.dropped_bodies)
    if outcome.numbered is not None:
        states.bodies.add(outcome.numbered)
    for line in outcome.lines:
        states.lines[(line.pool, line.source)] = line
    for key in outcome.dropped_lines:
        states.lines.pop(key, None)
    for replayed in outcome.replayed:
        states.replayed[replayed.replays] = replayed


def _apply_windows(states: States, outcome: Outcome) -> None:
    for size in outcome.published:
        states.unpublished[size].clear()
    for entry in outcome.windows:
        span, owner = key = key_of(entry)
        states.windows.setdefault(span, {})[owner] = entry
        size = size_of(entry.window_us)
        if size not in outcome.published:
            states.unpublished[size][key] = None
    for key in outcome.closed_windows:
        span, owner = key
        states.unpublished[size_of(span[0])].pop(key, None)
        windows = states.windows.get(span, {})
        windows.pop(owner, None)
        if not windows:
            states.windows.pop(span, None)


def key_of(entry: WindowEntry) -> WindowKey:
    """Return which window it is, and whose."""
    return (entry.window_us, entry.start_us), (entry.pool, entry.entitlement)


def size_of(window_us: int) -> int:
    """Return 0 for windows of seconds, 1 for minutes, 2 for hours."""
    if window_us < US_PER_MINUTE:
        return 0
    return 1 if window_us < US_PER_HOUR else 2


def with_verdicts_offset(outcome: Outcome, verdicts_offset: int) -> Outcome:
    """Return the outcome naming the offset from which a new owner must read ``verdicts``."""
    if outcome.partition is None:
        return outcome
    partition = msgspec.structs.replace(outcome.partition, verdicts_offset=verdicts_offset)
    return replace(outcome, partition=partition)
