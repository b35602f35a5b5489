"""Do the three counts agree?  Per pool, entitlement and token class, and per partition in events.

Kafka may have lost its beginning: then its sums are held against the raw rows of the same offsets,
and the raw rows of everything against the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from console.verification.raw_log import RawPart
from schemas.partitioning import partition_of
from schemas.verdicts import VerdictCounts
from streams.history.queries import Counted
from streams.history.raw_sums import NOTHING_COUNTED, Key
from streams.history.settled import Missing

CLASSES: Final = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "events",
)
VERDICTS: Final = ("accepted", "duplicate", "late", "dead", "forwarded")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One number of one entitlement, counted three ways."""

    pool: str
    entitlement: str
    token_class: str
    kafka: int
    ledger: int
    clickhouse: int
    clickhouse_in_range: int
    """Of the offsets that Kafka still has."""
    complete: bool
    """Whether Kafka has all offsets."""

    @property
    def drift(self) -> int:
        """The largest difference between two counts of the same events."""
        spreads = [
            abs(self.ledger - self.clickhouse),
            abs(self.kafka - self.clickhouse_in_range),
        ]
        if self.complete:
            spreads.append(abs(self.kafka - self.ledger))
        return max(spreads)


@dataclass(frozen=True, kw_only=True)
class PartitionLine:
    """One partition in events: what was read is what was judged, kind by kind."""

    partition: int
    start: int
    cut: int
    complete: bool
    events: int
    """Decoded from Kafka, ``start`` through ``cut``."""
    kafka: VerdictCounts
    ledger: VerdictCounts | None
    """Of the same offsets; None: the ledger's counts cannot be split there."""

    @property
    def drift(self) -> int:
        """The events by which the counts differ from each other or from what was read."""
        if self.ledger is None:
            return 0
        kinds = [abs(getattr(self.kafka, name) - getattr(self.ledger, name)) for name in VERDICTS]
        return max(int(sum(kinds)), abs(self.events - self.ledger.read))


@dataclass(frozen=True, kw_only=True)
class Report:
    """The answer of one verification."""

    lines: tuple[Line, ...]
    partitions: tuple[PartitionLine, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What could not be recomputed any more, in words."""
    missing: tuple[Missing, ...] = ()
    settled_before_us: int = 0

    @property
    def drift(self) -> int:
        """All differences: tokens by class, and events."""
        lines = sum(line.drift for line in self.lines)
        return lines + sum(line.drift for line in self.partitions)

    def line(self) -> str:
        """Return the line that a script may look for; sums are tokens of all classes."""
        counted = [line for line in self.lines if line.token_class in CLASSES[:4]]
        return (
            f"verify: kafka={sum(line.kafka for line in counted)} "
            f"ledger={sum(line.ledger for line in counted)} "
            f"clickhouse={sum(line.clickhouse for line in counted)} drift={self.drift}"
        )


def lines_of(
    *,
    kafka: Mapping[Key, Counted],
    ledger: Mapping[Key, Counted],
    clickhouse: Mapping[Key, Counted],
    in_range: Mapping[Key, Counted],
    complete: Mapping[int, bool],
    partitions: int,
) -> tuple[Line, ...]:
    """Return a line for each number that anybody counted; ``complete``: by partition."""
    lines = []
    for key in sorted({*kafka, *ledger, *clickhouse, *in_range}):
        counted = [each.get(key, NOTHING_COUNTED) for each in (kafka, ledger, clickhouse, in_range)]
        whole = complete.get(partition_of(key[0], partitions), False)
        for name in CLASSES:
            numbers = [_number(each, name) for each in counted]
            if any(numbers):
                lines.append(
                    Line(
                        pool=key[0],
                        entitlement=key[1],
                        token_class=name,
                        kafka=numbers[0],
                        ledger=numbers[1],
                        clickhouse=numbers[2],
                        clickhouse_in_range=numbers[3],
                        complete=whole,
                    )
                )
    return tuple(lines)


def partition_lines(
    parts: Iterable[RawPart], folded: Mapping[int, VerdictCounts]
) -> tuple[PartitionLine, ...]:
    """Return a line for each partition; ``folded``: the ledger's counts through the cut."""
    return tuple(
        PartitionLine(
            partition=part.partition,
            start=part.start,
            cut=part.cut,
            complete=part.complete,
            events=part.events,
            kafka=part.counts,
            ledger=None if part.base is None else _less(folded[part.partition], part.base),
        )
        for part in parts
    )


def _less(counts: VerdictCounts, base: VerdictCounts) -> VerdictCounts:
    return VerdictCounts(*(getattr(counts, name) - getattr(base, name) for name in VERDICTS))


def _number(counted: Counted, name: str) -> int:
    return counted.events if name == "events" else int(getattr(counted.tokens, name))
