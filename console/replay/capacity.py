"""Capacity: the replayer's side of ``scale-decisions`` and ``pool-capacity``.

Records are renewed while the replay lasts, expire by themselves if it dies, and are removed (a
tombstone) when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from console.replay.replicas import WRITER, PoolReplicas
from schemas.capacity import PoolCapacity, capacity_key
from schemas.connections import KafkaOptions
from schemas.errors import MalformedEventError, RecoverableError
from schemas.partitioning import partition_of
from schemas.scaling import ScaleDecision
from schemas.topics import POOL_CAPACITY, SCALE_DECISIONS
from schemas.units import MS_PER_S, US_PER_MS
from schemas.wire import decode, encode
from streams.kafka import Publisher
from streams.topic_logs import Follower, Record

RENEWALS_PER_TTL: Final = 3
REMOVE_S_MAX: Final = 5
"""How long the end of a replay waits for the broker."""


class CapacityReporter:
    """Writes each pool's capacity when it changes, and again before it expires."""

    def __init__(self, publisher: Publisher, kafka: KafkaOptions) -> None:
        self._publisher = publisher
        self._kafka = kafka
        self._sent: dict[str, PoolCapacity] = {}

    async def report(self, capacity: PoolCapacity) -> None:
        """Write the record unless an equal one still holds long enough."""
        sent = self._sent.get(capacity.pool)
        if sent is not None and not _is_due(sent, capacity):
            return
        await self._write(capacity.pool, encode(capacity))
        self._sent[capacity.pool] = capacity

    async def remove(self, pool: str) -> None:
        """Take the record back."""
        await self._write(pool, None)

    async def _write(self, pool: str, value: bytes | None) -> None:
        partition = partition_of(pool, self._kafka.partitions)
        topic = self._kafka.topic(POOL_CAPACITY)
        await self._publisher.send_all(topic, [(partition, capacity_key(pool, WRITER), value, ())])


def _is_due(sent: PoolCapacity, now: PoolCapacity) -> bool:
    changed = (sent.ready, sent.starting, sent.draining) != (now.ready, now.starting, now.draining)
    return changed or now.at_us - sent.at_us >= now.ttl_ms * US_PER_MS // RENEWALS_PER_TTL


@asynccontextmanager
async def capacity_reported(
    replicas: Sequence[PoolReplicas], kafka: KafkaOptions
) -> AsyncIterator[CapacityReporter]:
    """Follow scale decisions and yield the reporter; at the end the records are removed."""
    publisher = Publisher(kafka, client_id="tokenpools-replayer")
    follower = Follower(kafka, SCALE_DECISIONS, handler=_Obeying(replicas))
    reporter = CapacityReporter(publisher, kafka)
    await publisher.start()
    try:
        await follower.start()
        try:
            for each in replicas:
                await reporter.report(each.capacity())
            yield reporter
        finally:
            await follower.stop()
            await _remove(reporter, replicas)
    finally:
        await publisher.stop()


async def keep_reporting(
    reporter: CapacityReporter, replicas: Sequence[PoolReplicas], *, every_ms: int
) -> None:
    """Report the replicas until cancelled; a broker that is away is asked again."""
    while True:
        for each in replicas:
            try:
                await reporter.report(each.capacity())
            except RecoverableError:
                continue
        await asyncio.sleep(every_ms / MS_PER_S)


class _Obeying:
    """Hands each decision to its pool; one that cannot be read changes nothing."""

    def __init__(self, replicas: Sequence[PoolReplicas]) -> None:
        self._replicas = {each.pool.name: each for each in replicas}

    def __call__(self, record: Record) -> None:
        if record.value is None:
            return
        try:
            decision = decode(record.value, ScaleDecision)
        except MalformedEventError:
            return
        if decision.pool in self._replicas:
            self._replicas[decision.pool].decided(decision)


async def _remove(reporter: CapacityReporter, replicas: Sequence[PoolReplicas]) -> None:
    """Take the records back; where the broker is away, they expire by themselves."""
    for each in replicas:
        try:
            async with asyncio.timeout(REMOVE_S_MAX):
                await reporter.remove(each.pool.name)
        except (RecoverableError, TimeoutError):
            return
