"""What does the ledger hold, and exactly through which record?  Its changelog, read once.

A fold's totals, the partition's position and its counts are one record batch, so what is read up to
the log's end is the ledger at one position per partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.connections import KafkaOptions
from schemas.errors import TokenpoolsError
from schemas.ledger import LedgerEntry, PartitionEntry, TotalsEntry
from schemas.positions import Position
from schemas.specs import FIRST_EPOCH, EpochRecord, decode_pools
from schemas.topics import POOLS
from schemas.units import US_PER_S
from schemas.verdicts import VerdictCounts
from streams.changelog import latest_entries
from streams.history.queries import Counted
from streams.history.raw_sums import Cut, Key
from streams.topic_logs import read_whole

FUTURE_S_MIN: Final = 86_400
"""Specs of before may have allowed more than those of now."""


@dataclass(frozen=True, kw_only=True)
class Folded:
    """How far one partition is folded."""

    position: Position
    rolled: Position
    """Through here the totals of minutes are published."""
    stored_us: int
    """The broker's time of the last record."""
    counts: VerdictCounts

    @property
    def cut(self) -> Cut:
        """The last record that the totals include."""
        return Cut(self.position.epoch, self.position.offset)

    @property
    def rolled_cut(self) -> Cut:
        """The last record that the published minutes include."""
        return Cut(self.rolled.epoch, self.rolled.offset)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger at one position per partition."""

    folded: dict[int, Folded]
    totals: dict[Key, Counted]


async def read_ledger(
    options: KafkaOptions, partitions: Sequence[int], *, pool: str | None
) -> Ledger:
    """Return the totals (of one pool or of all) and how far each partition is folded."""
    entries = await latest_entries(options, partitions, kinds=(b"t|", b"p|"))
    return Ledger(folded=_folded(entries.values()), totals=_totals(entries.values(), pool=pool))


@dataclass(frozen=True, kw_only=True)
class Specified:
    """What ``pools`` says that a reader of the raw log must know."""

    epoch: int
    """The newest log epoch."""
    future_us_max: int
    """The largest time that an event may be ahead of the broker, in any pool."""


async def read_specified(options: KafkaOptions) -> Specified:
    """Return the newest epoch, and how far events may be ahead of the broker's time."""
    topic = options.topic(POOLS)
    epoch, future_s = FIRST_EPOCH, FUTURE_S_MIN
    async for record in read_whole(options, topic, range(options.partitions)):
        if record.value is None:
            continue
        try:
            message = decode_pools(record.value)
        except TokenpoolsError:
            continue  # every process refuses it, and says so
        if isinstance(message, EpochRecord):
            epoch = max(epoch, message.epoch)
        else:
            future_s = max(future_s, message.pool.metering.future_seconds_max)
    return Specified(epoch=epoch, future_us_max=future_s * US_PER_S)


def _folded(entries: Iterable[LedgerEntry]) -> dict[int, Folded]:
    return {
        entry.partition: Folded(
            position=entry.position,
            rolled=_rolled(entry),
            stored_us=entry.stored_us,
            counts=entry.counts,
        )
        for entry in entries
        if isinstance(entry, PartitionEntry)
    }


def _rolled(entry: PartitionEntry) -> Position:
    """Return through where minutes are published; a ledger that does not say publishes at once."""
    return entry.position if entry.rolled is None else entry.rolled[1]


def _totals(entries: Iterable[LedgerEntry], *, pool: str | None) -> dict[Key, Counted]:
    return {
        (entry.pool, entry.entitlement): Counted(
            tokens=entry.totals.tokens, events=entry.totals.events
        )
        for entry in entries
        if isinstance(entry, TotalsEntry) and pool in (None, entry.pool)
    }
