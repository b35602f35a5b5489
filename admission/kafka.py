"""Kafka: a client's options, and following a compacted topic from its beginning.

``Follower`` reads every partition without a consumer group and hands each record to a handler, in
partition order.  It never gives up on a broker that is away: it says so (naming the setting),
waits with a bounded back-off, and goes on where it stopped, so no record is handed over twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.connections import KafkaOptions
from schemas.errors import SettingsError

BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 5.0
POLL_MS: Final = 200
REQUEST_MS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Fetched:
    """One record; ``value`` None is a tombstone."""

    key: bytes | None
    value: bytes | None
    stored_ms: int
    offset: int
    partition: int


Handler = Callable[[Fetched], None]
Say = Callable[[str], None]


def client_kwargs(options: KafkaOptions) -> dict[str, Any]:
    """Return what every aiokafka client needs to reach the brokers."""
    kwargs: dict[str, Any] = {
        "bootstrap_servers": options.bootstrap,
        "security_protocol": options.security_protocol,
    }
    if options.uses_tls:
        kwargs["ssl_context"] = ssl_context(options)
    if options.uses_sasl:
        kwargs["sasl_mechanism"] = options.sasl_mechanism
        kwargs["sasl_plain_username"] = options.sasl_username
        kwargs["sasl_plain_password"] = options.sasl_password
    return kwargs


def ssl_context(options: KafkaOptions) -> ssl.SSLContext:
    """Return the TLS context; a file that cannot be used is named with its setting."""
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


def unreachable(options: KafkaOptions, error: BaseException) -> str:
    """Return what to tell the operator when the brokers do not answer."""
    return (
        f"KAFKA_BOOTSTRAP_SERVERS={options.bootstrap} cannot be used: "
        f"{type(error).__name__}: {error}"
    )


class Follower:
    """Follows one topic; ``topic`` is its name in the topics table."""

    def __init__(self, options: KafkaOptions, topic: str, handler: Handler, *, say: Say) -> None:
        self._options = options
        self._topic = options.topic(topic)
        self._handler = handler
        self._say = say
        self._next: dict[int, int] = {}
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow; returns at once, whether or not a broker answers."""
        self._task = asyncio.create_task(self._follow(), name=f"follow {self._topic}")

    async def caught_up(self) -> None:
        """Return when everything has been handled that was there at the first connection."""
        await self._caught_up.wait()

    @property
    def is_caught_up(self) -> bool:
        """Whether ``caught_up`` would return at once."""
        return self._caught_up.is_set()

    async def join(self) -> None:
        """Wait until the follower is stopped; a failure of its handler is raised here."""
        assert self._task is not None
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        """Stop following and close the connection."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _follow(self) -> None:
        backoff_s = BACKOFF_S_MIN
        while True:
            consumer = AIOKafkaConsumer(
                self._topic,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                request_timeout_ms=REQUEST_MS_MAX,
                **client_kwargs(self._options),
            )
            try:
                await self._read(consumer)
            except (KafkaError, OSError) as error:
                self._say(f"topic {self._topic}: {unreachable(self._options, error)}")
            finally:
                await consumer.stop()
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        """Read for as long as the connection lasts."""
        await consumer.start()
        partitions = consumer.assignment()
        for partition in partitions:
            if partition.partition in self._next:
                consumer.seek(partition, self._next[partition.partition])
        ends = await consumer.end_offsets(list(partitions))
        while True:
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            for partition, records in batches.items():
                self._hand_over(partition, records)
            if not self._caught_up.is_set():
                await self._check_caught_up(consumer, ends)

    def _hand_over(self, partition: TopicPartition, records: list[Any]) -> None:
        for record in records:
            self._handler(
                Fetched(
                    record.key, record.value, record.timestamp, record.offset, partition.partition
                )
            )
            self._next[partition.partition] = record.offset + 1

    async def _check_caught_up(
        self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]
    ) -> None:
        """Compare positions, not records: a compacted topic's last offsets may hold none."""
        for partition, end in ends.items():
            if await consumer.position(partition) < end:
                return
        self._caught_up.set()
