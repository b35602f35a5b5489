"""Takeover: what a new owner must know before it judges.

Is ``usage`` still the log that the ledger was made from?  And what did the owner before it publish
in ``verdicts`` that is not in the changelog yet?  That binds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.connections import KafkaOptions
from schemas.errors import SettingsError
from schemas.ledger import PartitionEntry
from schemas.topics import USAGE, VERDICTS
from schemas.verdicts import VerdictsMessage, decode_verdict
from streams.core.judge import Bound, bound_of
from streams.kafka import log_bounds, read_range

Entries = Mapping[int, PartitionEntry]
US_PER_MS = 1_000


class LogChangedError(SettingsError):
    """``usage`` is not the log that the ledger was made from."""


async def verify_logs(options: KafkaOptions, entries: Entries, *, epoch: int) -> None:
    """Raise ``LogChangedError`` where the ledger's position names another record or none.

    A position that retention has deleted is fine, and so is one of an earlier epoch.
    """
    topic = options.topic(USAGE)
    current = {p: each for p, each in entries.items() if each.position.epoch == epoch}
    for partition, entry in entries.items():
        if entry.position.epoch > epoch:
            raise _changed(topic, partition, f"the ledger is of epoch {entry.position.epoch}")
    bounds = await log_bounds(options, topic, list(current)) if current else {}
    wanted: dict[int, int] = {}
    for partition, entry in current.items():
        begin, end = bounds[partition]
        offset = entry.position.offset
        if end <= offset:
            raise _changed(topic, partition, f"it ends at {end}, the ledger at offset {offset}")
        if begin <= offset:
            wanted[partition] = offset
    ends = {partition: offset + 1 for partition, offset in wanted.items()}
    async for record in read_range(options, topic, starts=wanted, ends=ends):
        entry = current[record.partition]
        if record.timestamp_ms * US_PER_MS != entry.stored_us:
            raise _changed(
                topic,
                record.partition,
                f"offset {record.offset} was stored at {record.timestamp_ms} ms, the ledger read "
                f"one stored at {entry.stored_us // US_PER_MS} ms",
            )


def _changed(topic: str, partition: int, what: str) -> LogChangedError:
    return LogChangedError(
        f"{topic} partition {partition} is not the log that the ledger was made from: {what}. "
        "If the topic was re-created on purpose, run `tokenpools new-epoch`"
    )


async def published(
    options: KafkaOptions, partitions: Sequence[int], entries: Entries, *, epoch: int
) -> dict[int, Bound]:
    """Return what ``verdicts`` holds of each partition beyond its ledger's position."""
    topic = options.topic(VERDICTS)
    bounds = await log_bounds(options, topic, partitions) if partitions else {}
    starts = {
        partition: max(begin, entries[partition].verdicts_offset if partition in entries else 0)
        for partition, (begin, _) in bounds.items()
    }
    ends = {partition: end for partition, (_, end) in bounds.items()}
    messages: dict[int, list[VerdictsMessage]] = {partition: [] for partition in partitions}
    async for record in read_range(options, topic, starts=starts, ends=ends):
        if record.value is not None:
            messages[record.partition].append(decode_verdict(record.value))
    return {partition: bound_of(each, epoch=epoch) for partition, each in messages.items()}
