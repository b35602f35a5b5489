"""Kafka: the emitter's way to the broker: acknowledged by all replicas, by an idempotent producer.

A producer that has failed is replaced: an idempotent one may not go on after an error.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from admission.gateways.limits import BATCH_BYTES_MAX, GatewayLimits
from admission.kafka import client_kwargs
from schemas.connections import KafkaOptions
from schemas.errors import UnavailableError
from schemas.topics import USAGE
from schemas.units import MS_PER_S
from schemas.usage import Headers

LINGER_MS = 5
"""Records of several pools wait this long for each other, to share a record batch and a request."""


class KafkaTransport:
    """Sends to the topic ``usage``; the pool is the key, so Kafka's murmur2 picks its partition."""

    def __init__(self, options: KafkaOptions, limits: GatewayLimits) -> None:
        self._options = options
        self._limits = limits
        self._topic = options.topic(USAGE)
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._refused: UnavailableError | None = None
        """Why the last attempt to connect failed; it stands until ``_again_at_s``."""
        self._again_at_s = 0.0

    async def start(self) -> None:
        """Connect; raise ``UnavailableError`` when no broker answers."""
        await self._connected()

    async def stop(self) -> None:
        """Disconnect."""
        async with self._replacing:
            await self._discard()

    async def send(self, *, key: bytes, value: bytes, headers: Headers) -> None:
        """See ``Transport``."""
        producer = await self._connected()
        try:
            async with asyncio.timeout(self._limits.send_ms_max / MS_PER_S):
                await producer.send_and_wait(self._topic, value, key=key, headers=list(headers))
        except (KafkaError, TimeoutError) as error:
            await self._replace(producer)
            raise self._unavailable(error) from error

    async def _connected(self) -> AIOKafkaProducer:
        async with self._replacing:
            if self._producer is None:
                self._producer = await self._connect_unless_refused()
            return self._producer

    async def _connect_unless_refused(self) -> AIOKafkaProducer:
        """Connect; shortly after a failure, fail alike instead of trying again."""
        now_s = asyncio.get_running_loop().time()
        if self._refused is not None and now_s < self._again_at_s:
            raise UnavailableError(str(self._refused))
        try:
            producer = await self._connect()
        except UnavailableError as error:
            self._refused = error
            self._again_at_s = now_s + self._limits.reconnect_ms / MS_PER_S
            raise
        self._refused = None
        return producer

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **client_kwargs(self._options),
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES_MAX,
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise self._unavailable(error) from error
        return producer

    async def _replace(self, failed: AIOKafkaProducer) -> None:
        async with self._replacing:
            if self._producer is failed:
                await self._discard()

    async def _discard(self) -> None:
        """Stop the producer within the limit, whatever it still waits for."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(self._limits.connect_ms / MS_PER_S):
                await producer.stop()
        except (KafkaError, TimeoutError):
            return  # what it had pending is sent again by its successor

    def _unavailable(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"Kafka at {self._options.bootstrap} did not store a usage event "
            f"(KAFKA_BOOTSTRAP_SERVERS): {error!r}"
        )
