"""A batch: the rows that some Kafka records become, and how far they reach.

``Batch.add`` is a pure translation: what cannot be read is counted and left out (a malformed usage
event is no row; streams gives it a verdict).  A batch is bounded by its caller in rows and bytes;
``reaches`` says which offsets may be committed once every row of it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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
from schemas.usage import Headers, UsageEvent, decode_record
from schemas.verdicts import JudgedThrough, decode_verdict
from schemas.wire import decode
from streams.history.settled_rows import settled_rows
from streams.history.tables import TABLE_OF, TABLES, Row
from streams.history.tick_rows import (
    decision_row,
    entitlement_rows,
    scale_decision_row,
    tick_entitlement_rows,
    tick_row,
)
from streams.history.usage_rows import (
    ReadRow,
    judged_row,
    order_row,
    rollup_row,
    usage_rows,
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


class KafkaRecord(Protocol):
    """What a batch needs of a consumer's record."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass
class Batch:
    """Rows by table, how far they reach by (topic, partition), and what was left out."""

    epoch: int
    rows: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in TABLES})
    reaches: dict[tuple[str, int], int] = field(default_factory=dict)
    rows_count: int = 0
    bytes_count: int = 0
    malformed: dict[str, int] = field(default_factory=dict)
    """Records (of ``usage``: events) that could not be read, by topic."""

    def add(self, topic: str, partition: int, records: Sequence[KafkaRecord]) -> None:
        """Translate the records of one partition of ``topic`` (its name without the prefix)."""
        for record in records:
            self._add(topic, partition, record)
            self.bytes_count += len(record.value or b"")
        if records:
            self.reaches[topic, partition] = records[-1].offset

    @property
    def has_orders(self) -> bool:
        """Whether a window is to be counted again."""
        return bool(self.rows["rollup_orders"])

    def complete(self) -> dict[str, list[Row]]:
        """Return the rows by table, those of ``read_through`` included."""
        reads: list[Row] = [
            ReadRow(topic, self.epoch, partition, offset)
            for (topic, partition), offset in self.reaches.items()
        ]
        return {**self.rows, "read_through": reads}

    def _add(self, topic: str, partition: int, record: KafkaRecord) -> None:
        if topic == USAGE:
            self._add_usage(partition, record)
            return
        if record.value is None:
            return
        try:
            self._put(self._rows(topic, record, record.value))
        except (MalformedEventError, SpecError):
            self._count_malformed(topic, 1)

    def _add_usage(self, partition: int, record: KafkaRecord) -> None:
        events = decode_record(record.value, record.headers)
        self._count_malformed(USAGE, sum(not isinstance(event, UsageEvent) for event in events))
        self._put(
            usage_rows(
                events,
                record.headers,
                epoch=self.epoch,
                partition=partition,
                offset=record.offset,
                stored_ms=record.timestamp,
            )
        )

    def _rows(self, topic: str, record: KafkaRecord, value: bytes) -> list[Row]:
        if topic == VERDICTS:
            return _verdicts(value, written_ms=record.timestamp)
        if topic == ADMITTER_REPORTS:
            report = decode(value, AdmitterReport)
            return [*settled_rows(report, stored_ms=record.timestamp)]
        if topic != POOLS:
            return _READERS[topic](value)
        message = decode_pools(value)
        if not isinstance(message, PoolRecord):
            return []
        return [*entitlement_rows(message, offset=record.offset, stored_ms=record.timestamp)]

    def _put(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows[TABLE_OF[type(row)]].append(row)
            self.rows_count += 1

    def _count_malformed(self, topic: str, count: int) -> None:
        if count:
            self.malformed[topic] = self.malformed.get(topic, 0) + count


def _verdicts(value: bytes, *, written_ms: int) -> list[Row]:
    message = decode_verdict(value)
    if isinstance(message, JudgedThrough):
        return [judged_row(message)]
    return [verdict_row(message, written_ms=written_ms)]


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
