"""A paced emitter: so many events per second for so long, and when each was handed to Kafka.

Each slot of 10 ms sends what is due, one event per record, one record batch per partition; its
output has one line per acknowledged record batch.

    python -m tests.bench.metering.pace <order as JSON>
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Final

import msgspec
from aiokafka import AIOKafkaProducer

from schemas.connections import KafkaOptions
from schemas.partitioning import partition_of
from schemas.topics import USAGE
from schemas.usage import encode_structured
from streams.kafka import client_kwargs
from tests.bench.metering.sizes import BATCH_BYTES, GATEWAYS
from tests.bench.metering.traffic import Numbers, Traffic, pool_names, usage_data

SLOT_S: Final = 0.01
SLOT_EVENTS_MAX: Final = 1_024
"""What fits one record batch per partition; what an overslept slot left is sent in later ones."""


class Pace(msgspec.Struct, frozen=True):
    """What to emit."""

    options: KafkaOptions
    traffic: Traffic
    per_s: int


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """One record batch: its partition and first offset, when it was handed over and
    acknowledged, whose events."""

    partition: int
    offset: int
    at_s: float
    acknowledged_s: float
    pools: list[str]


class Emitter:
    """Emits events in the order of their numbers."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._topic = pace.options.topic(USAGE)
        self._names = pool_names(pace.traffic)
        self._homes = {name: partition_of(name, pace.options.partitions) for name in self._names}
        self._numbers = Numbers(run=f"{time.time_ns():x}", numbered=True)
        self._sent: list[asyncio.Task[Sent]] = []

    async def run(self) -> list[Sent]:
        """Emit everything; return the acknowledged batches."""
        loop = asyncio.get_running_loop()
        async with AIOKafkaProducer(
            **client_kwargs(self._pace.options), acks="all", max_batch_size=BATCH_BYTES
        ) as producer:
            await producer.partitions_for(self._topic)
            begun_s, number = loop.time(), 0
            while number < self._pace.traffic.events:
                await asyncio.sleep(SLOT_S)
                due = int((loop.time() - begun_s) * self._pace.per_s)
                due = min(due, self._pace.traffic.events, number + SLOT_EVENTS_MAX)
                await self._send(producer, range(number, due))
                number = due
            return await asyncio.gather(*self._sent)

    async def _send(self, producer: AIOKafkaProducer, numbers: range) -> None:
        batches: dict[int, tuple[object, list[str]]] = {}
        for pool, value, headers in self._events(numbers):
            home = self._homes[pool]
            if home not in batches:
                batches[home] = (producer.create_batch(), [])
            batch, pools = batches[home]
            assert batch.append(  # type: ignore[attr-defined]  # aiokafka has no types
                key=pool.encode(), value=value, timestamp=None, headers=headers
            ), "a slot's events do not fit one record batch"
            pools.append(pool)
        for partition, (batch, pools) in batches.items():
            at_s = time.time()
            future = await producer.send_batch(batch, self._topic, partition=partition)
            self._sent.append(asyncio.create_task(_acknowledged(future, partition, at_s, pools)))

    def _events(self, numbers: range) -> Iterator[tuple[str, bytes, list[tuple[str, bytes]]]]:
        traffic, now_us = self._pace.traffic, time.time_ns() // 1_000
        for number in numbers:
            round_, pool = divmod(number, traffic.pools)
            data = usage_data(
                number,
                pool=self._names[pool],
                entitlement=round_ % traffic.entitlements,
                end_us=now_us,
            )
            gateway = round_ // traffic.entitlements % GATEWAYS
            yield data.pool, *encode_structured(self._numbers.event(number, gateway, data))


async def _acknowledged(
    future: asyncio.Future[object], partition: int, at_s: float, pools: list[str]
) -> Sent:
    stored = await future
    offset: int = stored.offset  # type: ignore[attr-defined]  # aiokafka has no types
    return Sent(partition, offset, at_s, time.time(), pools)


async def main() -> None:
    """Emit, then print what was sent."""
    sent = await Emitter(msgspec.json.decode(sys.argv[1], type=Pace)).run()
    for each in sent:
        print(msgspec.json.encode(each).decode())


if __name__ == "__main__":
    asyncio.run(main())
