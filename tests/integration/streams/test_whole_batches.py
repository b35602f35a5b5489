"""Whole record batches, held to aiokafka's own path on the same log of a real broker.

Every log is read by ``getmany`` and by ``whole_batches``: from its beginning, from the middle
of a record batch and one record batch at a time: the same records, the same position at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.connections import KafkaOptions
from streams.fetching import whole_batches
from streams.kafka import client_kwargs

READ_S_MAX: Final = 30.0
COMPACTED_S_MAX: Final = 60.0
POLL_S: Final = 0.2
BATCHES: Final = 5
RECORDS: Final = 20
SAME_READS: Final = 4
COMPACTION: Final = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
}


class Read(NamedTuple):
    """What the ledger sees of a record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@pytest.fixture
def options(kafka_bootstrap: str) -> KafkaOptions:
    """The run's broker."""
    return KafkaOptions(bootstrap=kafka_bootstrap, partitions=1)


Fill = Callable[[KafkaOptions, str], Awaitable[None]]


async def send(
    producer: AIOKafkaProducer, topic: str, *, key: bytes = b"k", batches: int = BATCHES
) -> None:
    """Write record batches of 20 records: some without a value, some with headers."""
    for batch_number in range(batches):
        batch = producer.create_batch()
        for number in range(RECORDS):
            value = None if number % 7 == 3 else b"%d/%d" % (batch_number, number) * 20
            headers = [("h", b"%d" % number), ("other", b"")] if number % 3 else []
            batch.append(
                key=b"%s-%d" % (key, number % 4), value=value, timestamp=None, headers=headers
            )
        batch.close()
        await (await producer.send_batch(batch, topic, partition=0))


@asynccontextmanager
async def producer_of(options: KafkaOptions, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Yield a started producer."""
    async with AIOKafkaProducer(**client_kwargs(options), **settings) as producer:
        yield producer


def compressed(compression: str | None) -> Fill:
    """Fill a log with batches of one codec."""

    async def fill(options: KafkaOptions, topic: str) -> None:
        async with producer_of(options, compression_type=compression) as producer:
            await send(producer, topic)

    return fill


async def mixed(options: KafkaOptions, topic: str) -> None:
    """Fill a log with batches of several codecs."""
    for compression in ("gzip", None, "lz4", "zstd", "snappy"):
        await compressed(compression)(options, topic)


async def transactional(options: KafkaOptions, topic: str) -> None:
    """Fill a log with committed and aborted transactions, plain batches between them."""
    async with (
        producer_of(options) as plain,
        producer_of(options, transactional_id=f"{topic}-1") as one,
        producer_of(options, transactional_id=f"{topic}-2") as two,
    ):
        await one.begin_transaction()
        await two.begin_transaction()
        await send(one, topic, key=b"committed", batches=2)
        await send(two, topic, key=b"aborted", batches=2)
        await send(plain, topic, batches=1)
        await send(one, topic, key=b"committed", batches=1)
        await two.abort_transaction()
        await one.commit_transaction()
        await two.begin_transaction()
        await send(two, topic, key=b"committed after an abort", batches=1)
        await two.commit_transaction()
        await one.begin_transaction()
        await send(one, topic, key=b"aborted at the end", batches=1)
        await one.abort_transaction()


async def truncated(options: KafkaOptions, topic: str) -> None:
    """Let the log begin in the middle of a record batch."""
    await compressed("lz4")(options, topic)
    admin = AIOKafkaAdminClient(**client_kwargs(options))
    await admin.start()
    try:
        wanted = {TopicPartition(topic, 0): RecordsToDelete(before_offset=RECORDS + 7)}
        await admin.delete_records(wanted)
    finally:
        await admin.close()


async def compacted(options: KafkaOptions, topic: str) -> None:
    """Let compaction make holes: inside record batches, and of whole ones."""
    async with producer_of(options, compression_type="gzip") as producer:
        for _ in range(2):
            for number in range(BATCHES):
                await send(producer, topic, key=b"key-%d" % number, batches=2)
        async with asyncio.timeout(COMPACTED_S_MAX):
            await _until_compacted(options, topic, producer)
            await _until_settled(options, topic)


async def _until_compacted(options: KafkaOptions, topic: str, producer: AIOKafkaProducer) -> None:
    """Roll segments until the broker has compacted them."""
    while True:
        await producer.send_and_wait(topic, b"roll", key=b"roll", partition=0)
        records, end = await read(options, topic, ordinary, isolation="read_uncommitted", start=0)
        if len(records) < end // 2:
            return
        await asyncio.sleep(POLL_S)


async def _until_settled(options: KafkaOptions, topic: str) -> None:
    """Let nothing more be compacted, and wait until nothing is."""
    admin = AIOKafkaAdminClient(**client_kwargs(options))
    await admin.start()
    try:
        lag = {"min.compaction.lag.ms": "86400000", **COMPACTION}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=lag)])
    finally:
        await admin.close()
    seen: list[list[Read]] = []
    while seen.count(seen[-1] if seen else []) < SAME_READS:
        records, _ = await read(options, topic, ordinary, isolation="read_uncommitted", start=0)
        seen.append(records)
        await asyncio.sleep(POLL_S)


LOGS: Final = [
    pytest.param(compressed(None), id="plain"),
    pytest.param(compressed("gzip"), id="gzip"),
    pytest.param(compressed("lz4"), id="lz4"),
    pytest.param(compressed("zstd"), id="zstd"),
    pytest.param(compressed("snappy"), id="snappy"),
    pytest.param(mixed, id="mixed codecs"),
    pytest.param(transactional, id="transactions, some aborted"),
    pytest.param(truncated, id="begins in the middle of a record batch"),
    pytest.param(compacted, id="compacted"),
]

Poll = Callable[[AIOKafkaConsumer, TopicPartition], Awaitable[Sequence[Any]]]


async def ordinary(consumer: AIOKafkaConsumer, tp: TopicPartition) -> Sequence[Any]:
    """Poll as aiokafka does."""
    records: Sequence[Any] = (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
    return records


def whole(bytes_max: int) -> Poll:
    """Poll as the worker does."""

    async def poll(consumer: AIOKafkaConsumer, tp: TopicPartition) -> Sequence[Any]:
        fetcher = consumer._fetcher
        polled = await whole_batches(fetcher, [tp], timeout_s=0.2, bytes_max=bytes_max)
        return polled[tp].records if tp in polled else []

    return poll


async def read(
    options: KafkaOptions, topic: str, poll: Poll, *, isolation: str, start: int
) -> tuple[list[Read], int]:
    """Return everything from the offset to the end, and the position there."""
    tp = TopicPartition(topic, 0)
    found: list[Read] = []
    async with (
        asyncio.timeout(READ_S_MAX),
        AIOKafkaConsumer(
            **client_kwargs(options), auto_offset_reset="earliest", isolation_level=isolation
        ) as consumer,
    ):
        consumer.assign([tp])
        begin = (await consumer.beginning_offsets([tp]))[tp]
        end = (await consumer.end_offsets([tp]))[tp]
        consumer.seek(tp, max(begin, start))
        while await consumer.position(tp) < end:
            found += [
                Read(r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                for r in await poll(consumer, tp)
            ]
        return found, await consumer.position(tp)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fill", LOGS)
async def test_the_records_and_the_position_are_those_of_the_ordinary_path(
    options: KafkaOptions, topic_prefix: str, fill: Fill
) -> None:
    topic = f"{topic_prefix}log"
    await create(options, topic, is_compacted=fill is compacted)
    await fill(options, topic)

    for isolation in ("read_committed", "read_uncommitted"):
        for start in (0, 9, 2 * RECORDS + 11, 4 * RECORDS):
            expected = await read(options, topic, ordinary, isolation=isolation, start=start)
            for bytes_max in (1, 3_000, 10_000_000):
                taken = await read(
                    options, topic, whole(bytes_max), isolation=isolation, start=start
                )
                assert taken == expected, (isolation, start, bytes_max)
            assert expected[0], "a log without records proves nothing"


async def test_a_poll_ends_with_the_record_batch_by_which_it_is_full(
    options: KafkaOptions, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}log"
    await create(options, topic, is_compacted=False)
    await compressed(None)(options, topic)
    tp = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(**client_kwargs(options), auto_offset_reset="earliest") as consumer:
        consumer.assign([tp])

        first = await whole(1)(consumer, tp)
        position = await consumer.position(tp)
        rest = await whole(10_000_000)(consumer, tp)

    assert ([r.offset for r in first], position) == (list(range(RECORDS)), RECORDS)
    assert [r.offset for r in rest] == list(range(RECORDS, BATCHES * RECORDS))


async def create(options: KafkaOptions, topic: str, *, is_compacted: bool) -> None:
    """Create a topic with one partition."""
    admin = AIOKafkaAdminClient(**client_kwargs(options))
    await admin.start()
    try:
        wanted = NewTopic(topic, 1, 1, topic_configs=COMPACTION if is_compacted else {})
        await admin.create_topics([wanted])
    finally:
        await admin.close()
