"""Forced compaction: make Kafka's log cleaner run now, and see in the log that it did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from schemas.connections import KafkaOptions
from schemas.topics import CONSUMPTION_TABLE, changelog_topic
from streams.kafka import client_kwargs
from tests.integration.streams.loop import changelog_records, until

EAGER: Final = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "1",
    "delete.retention.ms": "0",
}
TRIGGER: Final = b"t|nobody|nothing|0"
"""A tombstone of a key that nobody has: writing it closes the segment before it."""
CLEANER: Final = {"log.cleaner.backoff.ms": "500"}
"""How long the broker's cleaner sleeps when it found nothing to do; 15 s otherwise."""
CLEANER_S_MAX: Final = 90.0


async def compact_ledger(options: KafkaOptions) -> None:
    """Return once every key of the ledger's changelog has its last record only.

    Fails when there was nothing to compact: then it would prove nothing.
    """
    topic = options.topic(changelog_topic(CONSUMPTION_TABLE))
    before = await changelog_records(options)
    ends = {each.partition: each.offset for each in before}
    assert len(before) > len({(each.partition, each.key) for each in before})
    await asyncio.to_thread(_configure, options.bootstrap, topic)
    producer = AIOKafkaProducer(**client_kwargs(options), acks="all")
    await producer.start()

    async def is_compacted() -> bool:
        for partition in range(options.partitions):
            await producer.send_and_wait(topic, None, key=TRIGGER, partition=partition)
        kept = [
            (each.partition, each.key)
            for each in await changelog_records(options)
            if each.offset <= ends.get(each.partition, -1)
        ]
        return len(kept) == len(set(kept))

    try:
        await until(is_compacted, what=f"{topic} is compacted", deadline_s=CLEANER_S_MAX)
    finally:
        await producer.stop()


def _configure(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    brokers = admin.list_topics(timeout=20.0).brokers
    wanted = [_wanted(ResourceType.TOPIC, topic, EAGER)]
    wanted += [_wanted(ResourceType.BROKER, str(number), CLEANER) for number in brokers]
    for future in admin.incremental_alter_configs(wanted).values():
        future.result(timeout=20.0)


def _wanted(kind: ResourceType, name: str, settings: Mapping[str, str]) -> ConfigResource:
    entries = [
        ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        for setting, value in settings.items()
    ]
    return ConfigResource(kind, name, incremental_configs=entries)
