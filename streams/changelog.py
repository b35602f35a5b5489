"""The changelog as a reader: totals straight from Kafka, whatever the workers hold in memory.

The console reconciles and verifies with it.  Over the generations of a key the highest position
wins, as in a restore.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.connections import KafkaOptions
from schemas.ledger import LedgerEntry, PartitionEntry, TotalsEntry, WindowTotals, decode_entry
from schemas.positions import Position
from schemas.topics import CONSUMPTION_TABLE, changelog_topic
from schemas.verdicts import VerdictCounts
from streams.core.outcome import EntitlementKey
from streams.core.restore import stored_key
from streams.topic_logs import read_whole


async def read_totals(options: KafkaOptions) -> dict[EntitlementKey, WindowTotals]:
    """Return everything each (pool, entitlement) ever consumed, as the changelog has it now."""
    latest = await latest_entries(options, range(options.partitions), kinds=(b"t|",))
    return {
        (entry.pool, entry.entitlement): entry.totals
        for entry in latest.values()
        if isinstance(entry, TotalsEntry)
    }


async def read_progress(options: KafkaOptions) -> dict[int, tuple[Position, VerdictCounts]]:
    """Return how far each partition of ``usage`` is folded, and its counts of verdicts."""
    latest = await latest_entries(options, range(options.partitions), kinds=(b"p|",))
    return {
        entry.partition: (entry.position, entry.counts)
        for entry in latest.values()
        if isinstance(entry, PartitionEntry)
    }


async def latest_entries(
    options: KafkaOptions, partitions: Sequence[int], *, kinds: tuple[bytes, ...]
) -> dict[bytes, LedgerEntry]:
    """Return the winning record of every key of these kinds (the first letters of a key).

    A fold's records are one record batch, so what is read up to the log's end is the ledger at one
    position per partition.
    """
    topic = options.topic(changelog_topic(CONSUMPTION_TABLE))
    latest: dict[bytes, LedgerEntry] = {}
    async for record in read_whole(options, topic, partitions):
        if record.key is None or record.value is None or not record.key.startswith(kinds):
            continue
        base = stored_key(record.key).base
        entry = decode_entry(record.value)
        if base not in latest or entry.position >= latest[base].position:
            latest[base] = entry
    return latest
