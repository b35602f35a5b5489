"""A batch: the rows that some Kafka records become, and how far they reach.

``Batch.add`` is a pure translation: what cannot be read is counted and left out (a malformed usage
event is no row; streams gives it a verdict).  Usage is kept encoded, all else by row.  A batch is
bounded by its caller in rows and bytes; ``reaches`` says which offsets may be committed once every
row of it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.decisions import Decision
from schemas.errors import MalformedEventError, SpecError
from schemas.reports import AdmitterReport
from schemas.rollups import Rollup
from schemas.scaling import ScaleDecision
from schemas.specs import PoolRecord, decode_pools
from schemas.ticks import Tick
from schemas.topics import (
    ADMITTER_REPORTS,
    DECISIONS,
    POOLS,
    ROLLUPS,
    SCALE_DECISIONS,
    TICKS,
    USAGE,
    VERDICTS,
)
from schemas.verdicts import JudgedThrough, decode_verdict
from schemas.wire import decode
from streams.history.judged import Judged
from streams.history.settled_rows import settled_rows
from streams.history.tables import TABLE_OF, TABLES, Row, columns_of
from streams.history.tick_rows import (
    decision_row,
    entitlement_rows,
    scale_decision_row,
    tick_entitlement_rows,
    tick_row,
)
from streams.history.usage_blocks import USAGE_TABLE, UsageBlocks
from streams.history.usage_columns import Column, KafkaRecord
from streams.history.usage_rows import (
    ReadRow,
    RollupOrderRow,
    VerdictRow,
    judged_row,
    order_row,
    rollup_row,
    verdict_row,
)

TOPICS_READ = (
    USAGE,
    VERDICTS,
    ROLLUPS,
    TICKS,
    DECISIONS,
    SCALE_DECISIONS,
    POOLS,
    ADMITTER_REPORTS,
)


class Block(NamedTuple):
    """What one insert takes, by column."""

    table: str
    names: tuple[str, ...]
    columns: list[Column]


class NativeBlocks(NamedTuple):
    """What one insert takes, encoded already in ClickHouse's format Native."""

    table: str
    names: tuple[str, ...]
    blocks: list[bytes]


@dataclass
class Batch:
    """Rows by table, how far they reach by (topic, partition), and what was left out."""

    epoch: int
    rows: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in TABLES})
    """Of every table but ``usage_raw``."""
    reaches: dict[tuple[str, int], int] = field(default_factory=dict)
    rows_count: int = 0
    bytes_count: int = 0
    oldest_ms: int = 0
    """The broker's time of the oldest record; 0: of none."""
    malformed: dict[str, int] = field(default_factory=dict)
    """Records (of ``usage``: events) that could not be read, by topic."""
    usage: UsageBlocks = field(init=False)
    generation: int = 0
    """Of the assignment under which the records were read."""
    judged: Judged = field(default_factory=Judged)
    """Through which offset the partitions are judged by the marks of this batch."""
    void: int = 0
    """Verdicts on positions that a mark of this batch had judged past already."""

    def __post_init__(self) -> None:
        self.usage = UsageBlocks(self.epoch)

    def add(self, topic: str, partition: int, records: Sequence[KafkaRecord]) -> None:
        """Translate the records of one partition of ``topic`` (its name without the prefix)."""
        if topic == USAGE:
            self._add_usage(partition, records)
        else:
            for record in records:
                self._add(topic, record)
        self.bytes_count += sum(len(record.value or b"") for record in records)
        if records:
            self.reaches[topic, partition] = records[-1].offset
            self.oldest_ms = min(self.oldest_ms or records[0].timestamp, records[0].timestamp)

    @property
    def rows_by_table(self) -> dict[str, int]:
        """Return how many rows there are for each table that gets any."""
        counts = {table: len(rows) for table, rows in self.rows.items() if rows}
        return {**counts, USAGE_TABLE: len(self.usage)} if len(self.usage) else counts

    @property
    def orders(self) -> list[RollupOrderRow]:
        """The windows that are to be counted again."""
        return [RollupOrderRow(*row) for row in self.rows["rollup_orders"]]

    def blocks(self) -> list[Block | NativeBlocks]:
        """Return what is to be inserted, in the order of the tables, ``read_through`` last."""
        reads: list[Row] = [
            ReadRow(topic, self.epoch, partition, offset)
            for (topic, partition), offset in self.reaches.items()
        ]
        made: list[Block | NativeBlocks] = []
        for table, rows in {**self.rows, "read_through": reads}.items():
            names = columns_of(table)
            if table == USAGE_TABLE and len(self.usage):
                made.append(NativeBlocks(table, names, self.usage.blocks()))
            elif rows:
                made.append(Block(table, names, list(zip(*rows, strict=True))))
        return made

    def _add(self, topic: str, record: KafkaRecord) -> None:
        if record.value is None:
            return
        try:
            self._put(self._rows(topic, record, record.value))
        except (MalformedEventError, SpecError):
            self._count_malformed(topic, 1)

    def _add_usage(self, partition: int, records: Sequence[KafkaRecord]) -> None:
        before = len(self.usage)
        self._count_malformed(USAGE, self.usage.add(partition, records))
        self.rows_count += len(self.usage) - before

    def _rows(self, topic: str, record: KafkaRecord, value: bytes) -> list[Row]:
        if topic == VERDICTS:
            return self._verdicts(value, written_ms=record.timestamp)
        if topic == ADMITTER_REPORTS:
            report = decode(value, AdmitterReport)
            return [*settled_rows(report, stored_ms=record.timestamp)]
        if topic != POOLS:
            return _READERS[topic](value)
        message = decode_pools(value)
        if not isinstance(message, PoolRecord):
            return []
        return [*entitlement_rows(message, offset=record.offset, stored_ms=record.timestamp)]

    def _verdicts(self, value: bytes, *, written_ms: int) -> list[Row]:
        message = decode_verdict(value)
        if not self.judged.holds(message):
            self.void += 1
            return []
        if isinstance(message, JudgedThrough):
            return [judged_row(message)]
        return [verdict_row(message, written_ms=written_ms)]

    def leave_out(self, judged: Judged) -> None:
        """Leave out the verdicts on positions that were judged past before this batch."""
        verdicts = [VerdictRow(*row) for row in self.rows["verdicts"]]
        held = judged.held(verdicts)
        self.void += len(verdicts) - len(held)
        self.rows["verdicts"] = [*held]

    def _put(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows[TABLE_OF[type(row)]].append(row)
            self.rows_count += 1

    def _count_malformed(self, topic: str, count: int) -> None:
        if count:
            self.malformed[topic] = self.malformed.get(topic, 0) + count


def _rollups(value: bytes) -> list[Row]:
    rollup = decode(value, Rollup)
    return [order_row(rollup) if rollup.order else rollup_row(rollup)]


def _ticks(value: bytes) -> list[Row]:
    tick = decode(value, Tick)
    return [*tick_entitlement_rows(tick), tick_row(tick)]


def _decisions(value: bytes) -> list[Row]:
    return [decision_row(decode(value, Decision))]


def _scale_decisions(value: bytes) -> list[Row]:
    return [scale_decision_row(decode(value, ScaleDecision))]


_READERS: dict[str, Callable[[bytes], list[Row]]] = {
    ROLLUPS: _rollups,
    TICKS: _ticks,
    DECISIONS: _decisions,
    SCALE_DECISIONS: _scale_decisions,
}
