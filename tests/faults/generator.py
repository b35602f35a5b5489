"""The generator: sends what the mill draws until the broker has acknowledged all of it.

After a fault nobody knows whether a record that was not acknowledged is in the log, so it is sent
again: at worst there is one more copy of its key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from confluent_kafka import Producer

from schemas.connections import KafkaOptions
from schemas.topics import USAGE
from streams.kafka import client_kwargs
from tests.faults.mill import Mill, Parcel, Wave
from tests.faults.waiting import StuckError

REQUEST_MS: Final = 30_000
SEND_S_MAX: Final = 300.0
"""How long one wave may take, a broker that is away included."""
SEND_ERRORS: Final = (KafkaError, OSError, TimeoutError)
RETRY_S: Final = 0.5
ABANDON_S: Final = 10.0


class Generator:
    """Emits usage of one lane and keeps the account of it."""

    def __init__(self, options: KafkaOptions, mill: Mill) -> None:
        self.mill = mill
        self._options = options
        self._topic = options.topic(USAGE)
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._foreign = Producer(
            {
                "bootstrap.servers": options.bootstrap,
                "enable.idempotence": True,
                "linger.ms": 1,
                "log_level": 0,
            }
        )

    async def run(self, stop: asyncio.Event, *, records: int, pause_s: float) -> None:
        """Send bursts until told to stop."""
        while True:
            await self.send(self.mill.burst(records, now_us=now_us()))
            if stop.is_set():
                return
            await asyncio.sleep(pause_s)

    async def send_to(self, pool: str, events: int) -> None:
        """Send single events of one pool."""
        await self.send(self.mill.for_pool(pool, events, now_us=now_us()))

    async def send(self, waves: Sequence[Wave]) -> None:
        """Send wave after wave, each when the one before is acknowledged."""
        for wave in waves:
            await asyncio.gather(
                self._send_ours([each for each in wave if not each.foreign]),
                asyncio.to_thread(self._send_foreign, [each for each in wave if each.foreign]),
            )
            for parcel in wave:
                self.mill.account.acknowledge(parcel.keys)

    async def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _send_ours(self, parcels: Wave) -> None:
        ends_s = time.monotonic() + SEND_S_MAX
        while parcels:
            parcels = await self._attempt(parcels)
            if parcels and time.monotonic() > ends_s:
                raise StuckError(f"{len(parcels)} records not sent within {SEND_S_MAX:.0f} s")

    async def _attempt(self, parcels: Wave) -> Wave:
        """Send the records and return those that nobody acknowledged, in their order."""
        begun: list[asyncio.Future[Any]] = []
        with suppress(*SEND_ERRORS):
            producer = await self._connected()
            for parcel in parcels:
                begun.append(await self._begin(producer, parcel))
        outcomes = await asyncio.gather(*begun, return_exceptions=True)
        failed = [
            parcel
            for parcel, outcome in zip(parcels, outcomes, strict=False)
            if isinstance(outcome, BaseException)
        ]
        failed += parcels[len(begun) :]
        if failed:
            await self._abandon()
            await asyncio.sleep(RETRY_S)
        return failed

    async def _begin(self, producer: AIOKafkaProducer, parcel: Parcel) -> asyncio.Future[Any]:
        sent: asyncio.Future[Any] = await producer.send(
            self._topic,
            parcel.value,
            key=parcel.pool.encode(),
            headers=list(parcel.headers),
            partition=parcel.partition(self._options.partitions),
        )
        return sent

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                self._producer = await self._new_producer()
            return self._producer

    async def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **client_kwargs(self._options),
            acks="all",
            enable_idempotence=True,
            linger_ms=1,
            request_timeout_ms=REQUEST_MS,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _abandon(self) -> None:
        """Give up a producer that failed: an idempotent one may be unusable from then on."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(ABANDON_S):
                    await producer.stop()
            except SEND_ERRORS:
                return

    def _send_foreign(self, parcels: Wave) -> None:
        """Send with librdkafka and its own partitioner; blocks, so it runs in a thread."""
        ends_s = time.monotonic() + SEND_S_MAX
        while parcels:
            parcels = self._attempt_foreign(parcels)
            if parcels and time.monotonic() > ends_s:
                raise StuckError(f"librdkafka has {len(parcels)} records not sent")

    def _attempt_foreign(self, parcels: Wave) -> Wave:
        """Send the records and return those that failed."""
        failed: Wave = []

        def delivered(parcel: Parcel, error: object, _message: object) -> None:
            if error is not None:
                failed.append(parcel)

        for parcel in parcels:
            self._foreign.produce(
                self._topic,
                value=parcel.value,
                key=parcel.pool.encode(),
                headers=list(parcel.headers),
                on_delivery=partial(delivered, parcel),
            )
        if left := self._foreign.flush(SEND_S_MAX):
            raise StuckError(f"librdkafka has {left} records not sent")
        return failed


def now_us() -> int:
    """Return the wall clock in microseconds since 1970."""
    return time.time_ns() // 1_000
