"""A site: topics of one bench on the broker, and the log that was stored in them.

The log is stored once, with the bulk API.  ``renew`` makes everything new that a worker writes, so
the same log can be drained again by another group.  Changelogs have the broker's time
(``LogAppendTime``) here, so their records say when they were stored, and what is read afterwards
tells how fast it went without a reader that takes part of the two cores.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.provision import provisioned_topics
from schemas.connections import KafkaOptions
from schemas.partitioning import partition_of
from schemas.specs import PoolRecord
from schemas.topics import CHANGELOGS, POOLS, USAGE, VERDICTS, Timestamps, Topic, topic_config
from schemas.wire import encode
from streams.kafka import client_kwargs
from tests.bench.metering.sizes import BATCH_BYTES
from tests.bench.metering.traffic import Produced, Traffic, pool_records, records_of
from tests.integration.streams.loop import until

READY_S_MAX: Final = 20.0
IN_FLIGHT: Final = 256
"""Record batches under way while a log is stored."""

BARE_CHANGELOG: Final = Topic(
    name="bare-changelog",
    key="as the ledger's",
    cleanup=CHANGELOGS[0].cleanup,
    retention_ms=None,
    writer="the bare loop",
    readers=("bench",),
    message="LedgerEntry",
)
RENEWED: Final = (*(each.name for each in CHANGELOGS), VERDICTS, BARE_CHANGELOG.name)


@dataclass(frozen=True)
class Site:
    """Topics with a prefix of their own, and the log of usage that they hold."""

    options: KafkaOptions
    traffic: Traffic
    ends: dict[int, int] = field(default_factory=dict)
    """Of ``usage``, by partition."""

    def topic(self, name: str) -> str:
        """Return the topic's name on the broker."""
        return self.options.topic(name)

    async def renew(self) -> Site:
        """Return the same log with empty changelogs and verdicts, for a new group."""
        names = [self.topic(name) for name in RENEWED]
        async with _admin(self.options) as admin:
            await admin.delete_topics(names)
            await _until_gone(admin, names)
            await _create(admin, self.options, [t for t in _topics() if t.name in RENEWED])
        return replace(
            self, options=replace(self.options, group_prefix=f"g{uuid.uuid4().hex[:8]}-")
        )

    async def apply(self, *, tick_ms: int) -> None:
        """Write the specs as ``tokenpools apply`` does, with this tick."""
        await _apply(self.options, pool_records(self.traffic, tick_ms=tick_ms))

    async def drop(self) -> None:
        """Delete every topic."""
        async with _admin(self.options) as admin:
            await admin.delete_topics([self.topic(topic.name) for topic in _topics()])


async def build(
    bootstrap: str, traffic: Traffic, *, tick_ms: int = 1_000, is_filled: bool = True
) -> Site:
    """Create the topics, apply the pools and store the log."""
    prefix = f"b{uuid.uuid4().hex[:8]}-"
    options = KafkaOptions(
        bootstrap=bootstrap,
        topic_prefix=prefix,
        group_prefix=prefix,
        partitions=traffic.partitions,
    )
    async with _admin(options) as admin:
        await _create(admin, options, _topics())
    await _apply(options, pool_records(traffic, tick_ms=tick_ms))
    site = Site(options, traffic)
    if is_filled:
        end_us = time.time_ns() // 1_000
        records = records_of(traffic, run=uuid.uuid4().hex[:12], end_us=end_us)
        site.ends.update(await store(options, records))
    return site


def _topics() -> list[Topic]:
    changelogs = {topic.name for topic in CHANGELOGS}
    return [
        msgspec.structs.replace(topic, timestamps=Timestamps.LOG_APPEND)
        if topic.name in changelogs
        else topic
        for topic in (*provisioned_topics(), BARE_CHANGELOG)
    ]


async def drop_topics(options: KafkaOptions, *, prefix: str) -> None:
    """Delete the topics that somebody else made, by the beginning of their names."""
    async with _admin(options) as admin:
        await admin.delete_topics([t for t in await admin.list_topics() if t.startswith(prefix)])


@asynccontextmanager
async def _admin(options: KafkaOptions) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_kwargs(options))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _create(
    admin: AIOKafkaAdminClient, options: KafkaOptions, topics: Sequence[Topic]
) -> None:
    wanted = [
        NewTopic(
            options.topic(topic.name),
            options.partitions,
            1,
            topic_configs=topic_config(topic, min_insync=1),
        )
        for topic in topics
    ]
    response = await admin.create_topics(wanted)
    refused = [error for error in response.topic_errors if error[1]]
    assert not refused, f"topics not created: {refused}"
    names = [topic.name for topic in wanted]

    async def have_leaders() -> bool:
        return all(map(_has_leaders, await admin.describe_topics(names)))

    await until(have_leaders, what="leaders of the topics", deadline_s=READY_S_MAX)


async def _until_gone(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    async def are_gone() -> bool:
        return not set(names) & set(await admin.list_topics())

    await until(are_gone, what="deleted topics to go", deadline_s=READY_S_MAX)


def _has_leaders(topic: Any) -> bool:
    parts = topic["partitions"]
    return bool(parts) and not any([topic["error_code"], *(part["error_code"] for part in parts)])


async def _apply(options: KafkaOptions, pools: Iterable[PoolRecord]) -> None:
    topic = options.topic(POOLS)
    async with AIOKafkaProducer(
        **client_kwargs(options), acks="all", max_request_size=8 * 1_048_576
    ) as producer:
        sent = [
            await producer.send(
                topic,
                encode(each),
                key=each.pool.name.encode(),
                partition=partition_of(each.pool.name, options.partitions),
            )
            for each in pools
        ]
        await asyncio.gather(*sent)


async def store(options: KafkaOptions, records: Iterable[Produced]) -> dict[int, int]:
    """Store the records; return each partition's end offset."""
    async with AIOKafkaProducer(
        **client_kwargs(options), acks="all", max_batch_size=BATCH_BYTES
    ) as producer:
        return await _Storing(producer, options.topic(USAGE)).all(records)


class _Storing:
    """Fills one record batch per partition and sends those that are full."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._open: dict[int, Any] = {}
        self._sent: list[Any] = []
        self._ends: dict[int, int] = {}

    async def all(self, records: Iterable[Produced]) -> dict[int, int]:
        """Store everything; return the end offsets."""
        for record in records:
            await self._append(record)
        for partition in list(self._open):
            await self._send(partition)
        await asyncio.gather(*self._sent)
        return self._ends

    async def _append(self, record: Produced) -> None:
        batch = self._open.setdefault(record.partition, self._producer.create_batch())
        if self._fits(batch, record):
            return
        await self._send(record.partition)
        batch = self._open[record.partition] = self._producer.create_batch()
        assert self._fits(batch, record), "a record is larger than a record batch"

    @staticmethod
    def _fits(batch: Any, record: Produced) -> bool:
        return (
            batch.append(
                key=record.key, value=record.value, timestamp=None, headers=list(record.headers)
            )
            is not None
        )

    async def _send(self, partition: int) -> None:
        batch = self._open.pop(partition)
        self._ends[partition] = self._ends.get(partition, 0) + batch.record_count()
        batch.close()
        self._sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))
        if len(self._sent) >= IN_FLIGHT:
            await asyncio.gather(*self._sent)
            self._sent.clear()
