"""Events that another client's partitioner puts elsewhere: forwarded once, in order, counted once.

librdkafka hashes keys with CRC-32 where ours and Java's use murmur2, and spreads events without a
key; a client may also put events of several pools into one record.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from confluent_kafka import Producer

from schemas.connections import KafkaOptions
from schemas.partitioning import partition_of
from schemas.topics import USAGE
from schemas.units import US_PER_S
from schemas.usage import (
    BATCH,
    CONTENT_TYPE_HEADER,
    FORWARDED_HEADER,
    STRUCTURED,
    UsageData,
    UsageEvent,
    decode_record,
    envelope,
)
from streams.changelog import read_progress
from streams.kafka import client_kwargs
from streams.topic_logs import log_bounds
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.loop import ENTITLEMENTS, POOL_NAMES, Gateway, until

SINGLE, COPIES = 200, 2
FRAMES, FRAME_EVENTS = 40, 8
KEYLESS = 60


@dataclass(frozen=True)
class Foreign:
    """A client with librdkafka's default partitioner."""

    gateway: Gateway
    producer: Producer

    def send(self, source: str, number: int, *, key: str | None = "", copies: int = 1) -> None:
        """Send one event; an empty key stands for the pool."""
        event = self._event(source, number)
        value = msgspec.json.encode(envelope(event))
        for _ in range(copies):
            self._produce(value, key=event.data.pool if key == "" else key, kind=STRUCTURED)

    def send_frame(self, source: str, first: int, *, key: str) -> None:
        """Send consecutive events, of all pools, as one JSON array."""
        events = [self._event(source, first + index) for index in range(FRAME_EVENTS)]
        value = msgspec.json.encode([envelope(event) for event in events])
        self._produce(value, key=key, kind=BATCH)

    def _produce(self, value: bytes, *, key: str | None, kind: bytes) -> None:
        self.producer.produce(
            self.gateway.options.topic(USAGE), value, key, headers=[(CONTENT_TYPE_HEADER, kind)]
        )
        self.producer.poll(0)

    def _event(self, source: str, number: int) -> UsageEvent:
        now_us = time.time_ns() // 1_000
        pool = POOL_NAMES[number % len(POOL_NAMES)]
        data = UsageData(
            pool=pool,
            entitlement=f"e{number % ENTITLEMENTS}",
            input_tokens=1 + number % 7,
            start_us=now_us - US_PER_S,
            end_us=now_us,
        )
        key = (pool, data.entitlement)
        expected = self.gateway.expected
        expected[key] = expected.get(key, 0) + data.input_tokens
        return UsageEvent(
            source=source, id=f"{number}", sequence=number // len(POOL_NAMES), data=data
        )


async def usage_records(options: KafkaOptions) -> list[ConsumerRecord[bytes, bytes]]:
    """Return the records of ``usage`` with their headers, in the order of each partition."""
    topic = options.topic(USAGE)
    bounds = await log_bounds(options, topic, range(options.partitions))
    consumer = AIOKafkaConsumer(**client_kwargs(options), group_id=None)
    await consumer.start()
    try:
        wanted = {TopicPartition(topic, p): end for p, (_, end) in bounds.items()}
        consumer.assign(list(wanted))
        await consumer.seek_to_beginning(*wanted)
        records: list[ConsumerRecord[bytes, bytes]] = []
        while any([await consumer.position(tp) < end for tp, end in wanted.items()]):
            for found in (await consumer.getmany(timeout_ms=200)).values():
                records += found
        return records
    finally:
        await consumer.stop()


def events_of(record: ConsumerRecord[bytes, bytes]) -> Iterator[UsageEvent]:
    """Yield the events of a record; all of this test's are well-formed."""
    for event in decode_record(record.value, record.headers):
        assert isinstance(event, UsageEvent)
        yield event


def is_forwarded(record: ConsumerRecord[bytes, bytes]) -> bool:
    """Say whether the worker put it there."""
    return any(name == FORWARDED_HEADER for name, _ in record.headers)


def is_at_home(event: UsageEvent, partition: int) -> bool:
    """Say whether the event's pool belongs to the partition."""
    return partition_of(event.data.pool, 4) == partition


def counted(
    records: Sequence[ConsumerRecord[bytes, bytes]], wanted: Callable[[UsageEvent, int], bool]
) -> Counter[int]:
    """Return how many of the events are wanted, by partition."""
    return Counter(
        record.partition
        for record in records
        for event in events_of(record)
        if wanted(event, record.partition)
    )


def numbers_by_line(
    records: Sequence[ConsumerRecord[bytes, bytes]], source: str
) -> list[list[int]]:
    """Return the numbers of a source's forwarded events for each pool, in the log's order."""
    lines: dict[str, list[int]] = {}
    for record in records:
        for event in events_of(record) if is_forwarded(record) else ():
            if event.source == source and event.sequence is not None:
                lines.setdefault(event.data.pool, []).append(event.sequence)
    return list(lines.values())


@pytest.mark.timeout(180)
async def test_another_clients_partitioner_changes_neither_totals_nor_order(
    gateway: Gateway, options: KafkaOptions, start_worker: StartWorker
) -> None:
    start_worker()
    foreign = Foreign(gateway, Producer({"bootstrap.servers": options.bootstrap}))
    for number in range(SINGLE):
        foreign.send("single", number, copies=COPIES)
    for index in range(FRAMES):
        foreign.send_frame("framed", index * FRAME_EVENTS, key="whatever")
    for number in range(KEYLESS):
        foreign.send("keyless", number, key=None)
    assert foreign.producer.flush(30) == 0
    distinct = SINGLE + FRAMES * FRAME_EVENTS + KEYLESS
    sent = distinct + SINGLE * (COPIES - 1)

    async def all_judged() -> bool:
        counts = await gateway.counts()
        return counts.accepted + counts.duplicate + counts.late + counts.dead == sent

    await until(all_judged, what="every event is judged at home", deadline_s=60.0)
    records = await usage_records(options)
    progress = await read_progress(options)
    misplaced = counted(records, lambda event, partition: not is_at_home(event, partition))
    read = counted(records, lambda _event, _partition: True)

    await gateway.ledger_agrees()
    counts = await gateway.counts()
    assert sum(misplaced.values()) > sent // 4, "the other partitioner does put events elsewhere"
    assert (counts.accepted, counts.duplicate) == (distinct, sent - distinct)
    assert (counts.late, counts.dead) == (0, 0)
    assert {p: judged.read for p, (_, judged) in progress.items()} == read
    assert {p: judged.forwarded for p, (_, judged) in progress.items()} == {
        partition: misplaced[partition] for partition in read
    }
    forwarded = [record for record in records if is_forwarded(record)]
    assert sum(counted(forwarded, is_at_home).values()) == counts.forwarded, "each went home once"
    assert all(len({event.data.pool for event in events_of(each)}) == 1 for each in forwarded)
    lines = [*numbers_by_line(forwarded, "single"), *numbers_by_line(forwarded, "framed")]
    assert len(lines) >= 2
    assert lines == [sorted(numbers) for numbers in lines], "what one client sent stays in order"
