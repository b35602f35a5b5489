"""Takeover: what a new owner must know before it judges.

Is ``usage`` still the log that the ledger was made from, and does the ledger hold everything that
was committed?  And what did the owner before it publish in ``verdicts`` that is not in the
changelog yet?  That binds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from schemas.connections import KafkaOptions
from schemas.errors import SettingsError
from schemas.ledger import PartitionEntry
from schemas.topics import STREAMS_APP, USAGE, VERDICTS
from schemas.units import US_PER_MS
from schemas.verdicts import VerdictsMessage, decode_verdict
from streams import metrics
from streams.core.judge import Bound, bound_of
from streams.coverage import Partition, check
from streams.kafka import admin_client
from streams.topic_logs import log_bounds, read_range

log = logging.getLogger(__name__)

Entries = Mapping[int, PartitionEntry]


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


async def verify_coverage(
    options: KafkaOptions,
    partitions: Sequence[int],
    entries: Entries,
    *,
    epoch: int,
    rebuild: bool,
) -> None:
    """Raise ``LedgerLostError`` where the ledger stands before what the group has committed.

    A ledger of an earlier epoch begins anew on purpose.  What retention took before it was read is
    said aloud and counted: nothing brings it back.
    """
    usage, group = options.topic(USAGE), options.group(STREAMS_APP)
    wanted = [p for p in partitions if p not in entries or entries[p].position.epoch == epoch]
    if not wanted:
        return
    committed = await _committed(options, group, usage, wanted)
    bounds = await log_bounds(options, usage, wanted)
    judged = await log_bounds(options, options.topic(VERDICTS), wanted)
    for number in wanted:
        entry = entries.get(number)
        partition = Partition(
            number=number,
            through=-1 if entry is None else entry.position.offset,
            committed=committed.get(number, 0),
            usage_begin=bounds[number][0],
            verdicts_begin=judged[number][0],
            verdicts_wanted=0 if entry is None else entry.verdicts_offset,
        )
        check(partition, topic=usage, group=group, rebuild=rebuild)
        _report(partition)


async def _committed(
    options: KafkaOptions, group: str, topic: str, partitions: Sequence[int]
) -> dict[int, int]:
    """Return the offset from which the group would read each partition, where it has committed."""
    wanted = [(topic, partition) for partition in partitions]
    async with admin_client(options) as admin:
        found = await admin.list_consumer_group_offsets(group, partitions=wanted)
    return {each.partition: entry.offset for each, entry in found.items() if entry.offset >= 0}


def _report(partition: Partition) -> None:
    if partition.is_behind:
        log.warning(
            "event=ledger_rebuilt partition=%d from=%d committed=%d",
            partition.number,
            partition.through + 1,
            partition.committed,
        )
    if partition.lost_offsets:
        metrics.LOST.labels(partition.number).inc(partition.lost_offsets)
        log.error(
            "event=usage_lost partition=%d from=%d to=%d: retention took these offsets of usage "
            "before they were read; they are in no total",
            partition.number,
            partition.through + 1,
            partition.usage_begin,
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
