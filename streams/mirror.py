"""Mirrors: what this worker has of one table's changelog, partition by partition.

A mirror is filled by what was read (a recovery, or a standby following the owner) and by what this
worker wrote and the broker acknowledged.  ``through`` promises that every record up to and
including that offset is in: a later recovery and a standby that becomes the owner go on from there.
What would break the promise is never skipped: a hole in what was read ends the process, and an own
write that does not follow ``through`` leaves it where it is, so that it is read again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from schemas.errors import TokenpoolsError
from streams import metrics

log = logging.getLogger(__name__)

NOTHING: Final = -1

Changes = Sequence[tuple[bytes, bytes | None]]


class ChangelogRecord(Protocol):
    """A changelog record as the client has it."""

    @property
    def offset(self) -> int:
        """Where it is."""

    @property
    def key(self) -> bytes | None:
        """Whose it is."""

    @property
    def value(self) -> bytes | None:
        """None: a tombstone."""


class ChangelogHoleError(TokenpoolsError):
    """Changelog records were lost on the way: the process ends and reads from the beginning."""


@dataclass
class Shard:
    """One partition of a mirror."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    through: int = NOTHING
    began: int = NOTHING
    """Where ``through`` was when the partition was last assigned."""
    read: int = 0
    """Records read since then."""


class Mirror:
    """The partitions of one table that this worker owns or stands by for."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._shards: dict[int, Shard] = {}

    def assign(self, partition: int) -> int | None:
        """Return the offset through which the partition is known; None: read it from its start."""
        shard = self._shards.setdefault(partition, Shard())
        shard.began, shard.read = shard.through, 0
        return None if shard.through == NOTHING else shard.through

    def read(self, partition: int, records: Sequence[ChangelogRecord], *, before: int) -> None:
        """Put in what was read from the changelog; ``before`` is the last offset read before it.

        Records that are in already change nothing.
        """
        shard = self._shards.get(partition)
        if shard is None or not records:
            return
        if NOTHING != shard.through < before:
            raise ChangelogHoleError(
                f"{self._table} partition {partition}: read through {shard.through}, but the next "
                f"records follow {before}"
            )
        for record in records:
            if record.offset > shard.through and record.key is not None:
                _put(shard.records, record.key, record.value)
        shard.through = max(shard.through, records[-1].offset)
        shard.read += len(records)
        self._measure(partition, shard)

    def write(self, partition: int, changes: Changes, first_offset: int = NOTHING) -> None:
        """Put in what the broker acknowledged, in one record batch that begins there.

        What was read meanwhile is not put in again: others may have changed it since.
        """
        shard = self._shards.get(partition)
        if shard is None or NOTHING != first_offset <= shard.through:
            return
        for key, value in changes:
            _put(shard.records, key, value)
        if first_offset == shard.through + 1:
            shard.through += len(changes)
        self._measure(partition, shard)

    def keep(self, owned: Collection[int], standby: Collection[int]) -> None:
        """Give back the memory of all other partitions, and say what taking these over cost."""
        for partition in [each for each in self._shards if each not in {*owned, *standby}]:
            del self._shards[partition]
            metrics.TABLE_RECORDS.remove(self._table, str(partition))
        for partition in sorted(owned):
            shard = self._shards.setdefault(partition, Shard())
            self._measure(partition, shard)
            log.info(
                "event=table_taken_over table=%s partition=%d records=%d read=%d from=%d "
                "through=%d standby_for=%d",
                self._table,
                partition,
                len(shard.records),
                shard.read,
                shard.began + 1,
                shard.through,
                len(standby),
            )

    def contents(self, partition: int) -> Mapping[bytes, bytes]:
        """Return the records of a partition by key."""
        shard = self._shards.get(partition)
        return {} if shard is None else shard.records

    def _measure(self, partition: int, shard: Shard) -> None:
        metrics.TABLE_RECORDS.labels(self._table, partition).set(len(shard.records))


def _put(records: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
    if value is None:
        records.pop(key, None)
    else:
        records[key] = value
