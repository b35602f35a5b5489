"""What is stored on the topic ``usage``: its records with their headers, and the events in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas.connections import KafkaOptions
from schemas.topics import USAGE
from schemas.usage import Headers, UsageEvent, decode_record
from streams.topic_logs import reader

StoredUsage: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass
class UsageLog:
    """Records of all partitions as they come; each partition's are in its order."""

    consumer: AIOKafkaConsumer
    records: list[StoredUsage] = field(default_factory=list)

    async def until(self, holds: Callable[[list[StoredUsage]], bool]) -> None:
        """Return when it holds for the records so far."""
        while not holds(self.records):
            batches = await self.consumer.getmany(timeout_ms=100)
            self.records += [record for batch in batches.values() for record in batch]

    async def until_its_end(self) -> None:
        """Return when everything that is stored by now was read."""
        ends = await self.consumer.end_offsets(self.consumer.assignment())
        await self.until(lambda records: len(records) >= sum(ends.values()))

    @property
    def events(self) -> list[UsageEvent]:
        """Every event; all must be well formed."""
        return events_of(self.records)


@asynccontextmanager
async def usage_log_of(kafka: KafkaOptions) -> AsyncIterator[UsageLog]:
    """Read the topic from its beginning."""
    async with reader(kafka) as consumer:
        topic = kafka.topic(USAGE)
        consumer.assign([TopicPartition(topic, each) for each in range(kafka.partitions)])
        yield UsageLog(consumer)


def headers_of(record: StoredUsage) -> Headers:
    return list(record.headers)


def events_of(records: Iterable[StoredUsage]) -> list[UsageEvent]:
    """The events of well-formed records, in order."""
    decoded = [
        event for record in records for event in decode_record(record.value, headers_of(record))
    ]
    events = [event for event in decoded if isinstance(event, UsageEvent)]
    assert len(events) == len(decoded)
    return events
