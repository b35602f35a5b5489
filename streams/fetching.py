"""Fetching: whole record batches, where aiokafka makes one object after another.

aiokafka unpacks a fetched partition in a generator that builds a frozen dataclass per record, which
costs more than decoding and counting it.  Here the same record batches are taken whole: what it
decides per record (checksum, control batches, aborted transactions, where the fetch began) is
decided per record batch, and its own compiled records are handed on.  They have the attributes of a
``ConsumerRecord`` that the ledger reads: offset, timestamp, key, value, headers.

This reaches into aiokafka, so it is used with the versions it was tested on; with any other, the
ordinary path is, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, Final, NamedTuple

import aiokafka
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchError
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, KafkaError

log = logging.getLogger(__name__)

TESTED_VERSIONS: Final = ("0.14.0",)
"""Of aiokafka: those with which the contract test passes."""

_value = attrgetter("value")


class Fetched(NamedTuple):
    """What one poll brought for one partition."""

    records: list[Any]
    size_bytes: int


NOTHING: Final = Fetched([], 0)

MUCH_BYTES: Final = 262_144
"""A poll that brought so much is of a busy log."""
STALE_S: Final = 0.1
"""What was fetched longer ago is not all that the broker has."""
FRESH_S_MAX: Final = 0.25
"""For so long at most is the rest waited for."""
LIVE_MS: Final = 5_000
"""A log whose newest records are older is a backlog: it comes as fast as it can be folded."""

Poll = Callable[[float | None], Awaitable[dict[Any, Fetched]]]
"""One poll that waits for so many seconds at most."""


async def up_to_date(
    poll: Poll, *, timeout_s: float | None, lay_s: float, now_ms: int, bytes_max: int
) -> dict[Any, Fetched]:
    """Return what a poll brings, and what the broker has by now if that lay ready for too long.

    A client fetches again right after a poll: what lies ready ``lay_s`` later was stored before all
    of that time, and of a busy log that would be folded a cycle later than need be.  Of a backlog
    it matters to nobody.  ``now_ms`` is milliseconds since 1970.  What the second poll is refused
    does not take back what the first one brought: the next one is refused it again.
    """
    fetched = await poll(timeout_s)
    size_bytes = sum(each.size_bytes for each in fetched.values())
    newest_ms = max(
        (each.records[-1].timestamp for each in fetched.values() if each.records), default=0
    )
    is_live = now_ms - newest_ms < LIVE_MS
    if is_live and lay_s > STALE_S and MUCH_BYTES <= size_bytes < bytes_max // 2:
        fresh: dict[Any, Fetched] = {}
        with suppress(KafkaError):
            fresh = await poll(FRESH_S_MAX)
        for tp, more in fresh.items():
            first = fetched.get(tp, NOTHING)
            size_bytes = first.size_bytes + more.size_bytes
            fetched[tp] = Fetched(first.records + more.records, size_bytes)
    return fetched


def can_take_whole_batches(version: str = aiokafka.__version__) -> bool:
    """Say whether this aiokafka was tested; if not, say it in the log too."""
    if version in TESTED_VERSIONS:
        return True
    log.warning(
        "event=whole_batches_off aiokafka=%s tested=%s: records are taken one by one, as aiokafka "
        "does it, which is slower",
        version,
        ",".join(TESTED_VERSIONS),
    )
    return False


def bytes_of(records: Sequence[Any]) -> int:
    """Return how many bytes the records' values are."""
    return sum(map(len, filter(None, map(_value, records))))


async def poll(
    consumer: Any, partitions: Collection[Any], *, timeout_s: float, bytes_max: int
) -> dict[Any, Fetched]:
    """Return what a consumer has fetched of these partitions, as its ``getmany`` does."""
    fetcher = consumer._fetcher
    if consumer._closed or fetcher._closed:
        raise ConsumerStoppedError
    with fetcher._subscriptions.fetch_context():
        return await whole_batches(fetcher, partitions, timeout_s=timeout_s, bytes_max=bytes_max)


async def whole_batches(
    fetcher: Any, partitions: Collection[Any], *, timeout_s: float, bytes_max: int
) -> dict[Any, Fetched]:
    """Return what has been fetched, by partition, and move the positions past it.

    The body of aiokafka's ``Fetcher.fetched_records``; it ends after the record batch by which
    there are ``bytes_max`` bytes, and what is left comes with the next call.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        drained = _drain(fetcher, partitions, bytes_max=bytes_max)
        left_s = deadline_s - time.monotonic()
        if drained or left_s <= 0:
            return drained
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=left_s)
        if not done or fetcher._closed:
            waiter.cancel()
            return {}
        waiter.result()  # raises what the broker refused


def _drain(fetcher: Any, partitions: Collection[Any], *, bytes_max: int) -> dict[Any, Fetched]:
    drained: dict[Any, Fetched] = {}
    left = bytes_max
    for tp in _ready(fetcher, partitions):
        fetched = _take_from(fetcher, tp, bytes_max=left)
        if fetched.records:
            drained[tp] = fetched
        left -= fetched.size_bytes
        failed = fetcher._records.get(tp)
        if isinstance(failed, FetchError) and not drained:  # else the next call raises it
            _forget(fetcher, tp)
            failed.check_raise()
        if left <= 0 or isinstance(failed, FetchError):
            break
    return drained


def _ready(fetcher: Any, partitions: Collection[Any]) -> list[Any]:
    """Return the wanted partitions of which something was fetched; forget those that are gone."""
    for tp in [tp for tp in fetcher._records if tp not in partitions]:
        if not fetcher._subscriptions.is_assigned(tp):
            del fetcher._records[tp]
    return [tp for tp in fetcher._records if tp in partitions]


def _take_from(fetcher: Any, tp: Any, *, bytes_max: int) -> Fetched:
    result = fetcher._records[tp]
    if isinstance(result, FetchError):
        return NOTHING
    try:
        fetched = take(result, bytes_max=bytes_max)
    except KafkaError as error:
        fetcher._records[tp] = FetchError(error=error, backoff=fetcher._prefetch_backoff)
        return NOTHING
    if not result.has_more():
        _forget(fetcher, tp)
    return fetched


def _forget(fetcher: Any, tp: Any) -> None:
    """Let the partition be fetched again."""
    del fetcher._records[tp]
    fetcher._notify(fetcher._wait_consume_future)


def take(result: Any, *, bytes_max: int) -> Fetched:
    """Return the records of a fetched partition's record batches.

    The body of aiokafka's ``FetchResult.getall``.  At least one record batch is taken.
    """
    if not result.check_assignment(result._topic_partition) or not result.has_more():
        return NOTHING
    unpacked = result._partition_records
    taken: list[Any] = []
    size = 0
    while unpacked._records.has_next() and size < bytes_max:
        records = _records_of(unpacked, unpacked._records.next_batch())
        size += bytes_of(records)
        taken.extend(records)
    result._update_position()
    if not unpacked._records.has_next():
        result._partition_records = None
    return Fetched(taken, size)


def _records_of(unpacked: Any, batch: Any) -> list[Any]:
    """Return what one record batch delivers, and move the fetch offset past it.

    The body of aiokafka's ``PartitionRecords._unpack_records``.
    """
    if unpacked._check_crcs and not batch.validate_crc():
        raise CorruptRecordException(f"Invalid CRC - {unpacked._tp}")
    records: list[Any] = []
    if not _is_aborted(unpacked, batch) and not batch.is_control_batch:
        records = list(batch)
        first = unpacked.next_fetch_offset
        if records and records[0].offset < first:
            records = [record for record in records if record.offset >= first]
    unpacked.next_fetch_offset = batch.next_offset
    return records


def _is_aborted(unpacked: Any, batch: Any) -> bool:
    """Follow aborted transactions; say whether the record batch belongs to one."""
    if unpacked._isolation_level != READ_COMMITTED or batch.producer_id is None:
        return False
    unpacked._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch and unpacked._contains_abort_marker(batch):
        unpacked._aborted_producers.discard(batch.producer_id)
    return batch.is_transactional and batch.producer_id in unpacked._aborted_producers
