"""Compaction of the ledger's changelog, forced, and seen to have happened.

A log's last segment is never compacted, so the topic is told to begin new ones at once and is given
a tombstone of a key that nobody uses.  It has happened when no key has two records before those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.connections import KafkaOptions
from schemas.topics import CHANGELOGS, CONSUMPTION_TABLE, changelog_topic, topic_config
from streams.kafka import client_kwargs
from streams.topic_logs import Record, read_whole
from tests.faults.waiting import until

COMPACTED_S_MAX: Final = 60.0
EAGER: Final = {
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.0",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "200",
    "delete.retention.ms": "0",
}
NOBODYS_KEY: Final = b"p|%d|0"


async def compact(options: KafkaOptions) -> int:
    """Compact the changelog; return how many records went."""
    topic = options.topic(changelog_topic(CONSUMPTION_TABLE))
    async with _eager(options):
        before = await _repeats(options, topic, await _roll(options, topic))

        async def compacted() -> bool:
            return not await _repeats(options, topic, await _roll(options, topic))

        await until(compacted, what="no key twice in the changelog", within_s=COMPACTED_S_MAX)
    return before


async def records_of(options: KafkaOptions) -> list[Record]:
    """Return what the changelog holds now."""
    topic = options.topic(changelog_topic(CONSUMPTION_TABLE))
    return [each async for each in read_whole(options, topic, range(options.partitions))]


@asynccontextmanager
async def _eager(options: KafkaOptions) -> AsyncIterator[None]:
    await _configure(options, EAGER)
    try:
        yield
    finally:
        await _configure(options, {})


async def _configure(options: KafkaOptions, extra: dict[str, str]) -> None:
    topic = next(each for each in CHANGELOGS if each.name == changelog_topic(CONSUMPTION_TABLE))
    settings = {**topic_config(topic, min_insync=options.min_insync), **extra}
    admin = AIOKafkaAdminClient(**client_kwargs(options))
    await admin.start()
    try:
        name = options.topic(topic.name)
        resource = ConfigResource(ConfigResourceType.TOPIC, name, configs=settings)
        await admin.alter_configs([resource])
    finally:
        await admin.close()


async def _roll(options: KafkaOptions, topic: str) -> dict[int, int]:
    """Begin a new segment in every partition; return where it begins."""
    begins = {}
    async with AIOKafkaProducer(**client_kwargs(options), acks="all") as producer:
        for partition in range(options.partitions):
            sent = await producer.send_and_wait(
                topic, None, key=NOBODYS_KEY % partition, partition=partition
            )
            begins[partition] = sent.offset
    return begins


async def _repeats(options: KafkaOptions, topic: str, before: dict[int, int]) -> int:
    """Return how many records below the offsets have a later one of the same key there."""
    seen = Counter(
        (each.partition, each.key)
        for each in await records_of(options)
        if each.offset < before[each.partition]
    )
    nobodys = {NOBODYS_KEY % partition for partition in before}
    return sum(number - 1 for (_, key), number in seen.items() if key not in nobodys)
