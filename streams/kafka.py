"""Kafka: every client that streams builds itself, from the plain connection options.

Producers acknowledge from all in-sync replicas; readers use manual assignment and no group.  A
broker that does not answer is asked again with back-off, and the message names
``KAFKA_BOOTSTRAP_SERVERS``.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from schemas.connections import KafkaOptions
from schemas.errors import RecoverableError, SettingsError, UnavailableError
from streams.compression import best_compression, compressed_bytes
from streams.record_batches import Built, Outgoing, batches_of, one_batch

log = logging.getLogger(__name__)

BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between attempts; the last one repeats until the attempts are used up."""

ATTEMPTS_MAX: Final = 60
RECORD_BATCH_BYTES_MAX: Final = 8 * 1_048_576
"""Uncompressed, of one atomic batch."""
WIRE_BYTES_MAX: Final = 1_048_576
"""Compressed, which is what a broker counts: the limit of most topics."""
PLAIN_BYTES_MAX: Final = 1_048_576
"""Uncompressed, of a batch that may be split."""


def client_kwargs(options: KafkaOptions) -> dict[str, Any]:
    """Return aiokafka's connection arguments."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": options.bootstrap,
        "security_protocol": options.security_protocol,
    }
    if options.uses_tls:
        arguments["ssl_context"] = ssl_context(options)
    if options.uses_sasl:
        arguments["sasl_mechanism"] = options.sasl_mechanism
        arguments["sasl_plain_username"] = options.sasl_username
        arguments["sasl_plain_password"] = options.sasl_password
    return arguments


def ssl_context(options: KafkaOptions) -> ssl.SSLContext:
    """Return the TLS context: the options' authority, and a client certificate if there is one.

    A file that cannot be used is named with its setting.
    """
    try:
        context = ssl.create_default_context(cafile=options.ssl_ca_file or None)
    except OSError as error:
        raise SettingsError(f"KAFKA_SSL_CA_FILE={options.ssl_ca_file!r}: {error}") from error
    context.check_hostname = options.ssl_check_hostname
    if options.ssl_cert_file:
        # Through a function, because OpenSSL asks the terminal when it is given no password.
        try:
            context.load_cert_chain(
                options.ssl_cert_file, options.ssl_key_file, lambda: options.ssl_key_password
            )
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"KAFKA_SSL_CERT_FILE={options.ssl_cert_file!r}, "
                f"KAFKA_SSL_KEY_FILE={options.ssl_key_file!r}, KAFKA_SSL_KEY_PASSWORD: {error}"
            ) from error
    return context


def unavailable(options: KafkaOptions, error: BaseException) -> UnavailableError:
    """Return the error that tells an operator what to change."""
    return UnavailableError(
        f"Kafka at {options.bootstrap} did not answer ({error!r}); "
        "check KAFKA_BOOTSTRAP_SERVERS and the KAFKA_* security settings"
    )


async def connected(options: KafkaOptions, start: Callable[[], Awaitable[None]]) -> None:
    """Run ``start`` until the broker answers, with back-off; raise ``UnavailableError`` at last."""
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await start()
        except (TimeoutError, KafkaConnectionError, OSError) as error:
            if attempt + 1 == ATTEMPTS_MAX:
                raise unavailable(options, error) from error
            pause_s = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
            log.warning("%s; trying again in %.1f s", unavailable(options, error), pause_s)
            await asyncio.sleep(pause_s)


async def wait_for_broker(options: KafkaOptions) -> None:
    """Return once the broker answers a metadata request."""

    async def ask() -> None:
        admin = AIOKafkaAdminClient(**client_kwargs(options))
        try:
            await admin.start()
        finally:
            await admin.close()

    await connected(options, ask)


async def topic_partitions(options: KafkaOptions) -> dict[str, int]:
    """Return the number of partitions of every topic on the broker."""
    async with admin_client(options) as admin:
        described = await admin.describe_topics()
        return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def topic_settings(options: KafkaOptions, topic: str) -> dict[str, str]:
    """Return a topic's settings, defaults included."""
    async with admin_client(options) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        responses = await admin.describe_configs([resource])
        return {
            entry[0]: entry[1]
            for response in responses
            for described in response.resources
            for entry in described[4]
        }


@asynccontextmanager
async def admin_client(options: KafkaOptions) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a started client for questions about topics and groups."""
    admin = AIOKafkaAdminClient(**client_kwargs(options))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


class Publisher:
    """Writes records that are acknowledged by all in-sync replicas before it returns.

    Records of one partition are written in the order of the calls, whole record batches at a time.
    """

    def __init__(
        self,
        options: KafkaOptions,
        *,
        client_id: str,
        batch_bytes_max: int = RECORD_BATCH_BYTES_MAX,
        wire_bytes_max: int = WIRE_BYTES_MAX,
        compression: str = "",
    ) -> None:
        self._options = options
        self._codec = compression or best_compression()
        self._wire_bytes_max = wire_bytes_max
        self._turns: dict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        """Whose turn it is to hand over a batch: aiokafka alone would let one overtake another."""
        self._producer = AIOKafkaProducer(
            **client_kwargs(options),
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            compression_type=None if self._codec == "none" else self._codec,
            max_batch_size=batch_bytes_max,
            max_request_size=batch_bytes_max,
        )

    async def start(self) -> None:
        """Connect, with back-off."""
        await connected(self._options, self._producer.start)

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""
        await self._producer.stop()

    async def send_all(self, topic: str, records: Sequence[Outgoing]) -> int:
        """Write the records in order; return the last one's offset, -1 when there are none.

        No record is written before those of its partition that come before it are acknowledged.
        """
        batches = batches_of(
            records,
            create=self._producer.create_batch,
            plain_bytes_max=min(PLAIN_BYTES_MAX, self._wire_bytes_max),
        )
        lasts = await asyncio.gather(
            *(self._send_in_turn(topic, partition, each) for partition, each in batches.items())
        )
        return dict(zip(batches, lasts, strict=True))[records[-1][0]] if records else -1

    async def _send_in_turn(self, topic: str, partition: int, batches: Sequence[Built]) -> int:
        last = -1
        for built in batches:
            last = await self.send_built(topic, partition, built) + built.records - 1
        return last

    def build(self, records: Sequence[tuple[bytes, bytes | None]]) -> Built:
        """Return one record batch (whole or not at all) of all records, to be sent later.

        Raises ``BatchTooLargeError`` when they do not fit what a topic takes.
        """
        return one_batch(
            records,
            create=self._producer.create_batch,
            wire_bytes_max=self._wire_bytes_max,
            wire_bytes=lambda plain: compressed_bytes(plain, self._codec),
        )

    async def send_built(self, topic: str, partition: int, built: Built) -> int:
        """Write a batch; return the offset of its first record."""
        try:
            async with self._turns[topic, partition]:
                pending = await self._producer.send_batch(built.builder, topic, partition=partition)
            return int((await pending).offset)
        except MessageSizeTooLargeError as error:
            raise WriteFailedError(
                f"{topic} does not take a record of this size ({error!r}); raise its "
                "max.message.bytes to what `tokenpools topics --print` says"
            ) from error
        except KafkaError as error:
            raise WriteFailedError(f"a write to Kafka failed: {error!r}") from error

    async def send_atomically(
        self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]]
    ) -> int:
        """Write all records as one Kafka record batch; return the offset of the first.

        Raises ``BatchTooLargeError`` when they do not fit.
        """
        return await self.send_built(topic, partition, self.build(records))


class WriteFailedError(RecoverableError):
    """The broker did not acknowledge a write; the process starts again from what it has."""
