"""An operator who runs commands and looks at what both sides count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer
from click.testing import CliRunner

from console.cli import main
from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.errors import UnavailableError
from schemas.partitioning import partition_of
from schemas.topics import USAGE
from schemas.usage import UsageEvent, encode_structured
from streams.history.queries import accepted_totals
from streams.kafka import client_kwargs
from tests.integration.streams.loop import Gateway, environment

DEADLINE_S: Final = 60.0
POLL_S: Final = 0.1


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status."""

    status: int
    text: str


@dataclass(frozen=True)
class Operator:
    """Runs commands with the settings of one test."""

    kafka: KafkaOptions
    clickhouse: ClickHouseOptions
    dsn: str

    async def run(self, *arguments: str) -> Answer:
        """Run a command in a thread, as it has an event loop of its own."""
        environ = {**environment(self.kafka), "CLICKHOUSE_DSN": self.dsn, "COLUMNS": "200"}
        runner = CliRunner(env=environ)
        answer = await asyncio.to_thread(runner.invoke, main, list(arguments))
        print(f"$ tokenpools {' '.join(arguments)}\n{answer.output}")
        return Answer(answer.exit_code, answer.output)

    async def until(self, observe: Callable[[], Awaitable[bool]], *, what: str) -> None:
        """Return once the condition holds; fail naming it when the deadline has passed."""
        ends_s = time.monotonic() + DEADLINE_S
        while not await observe():
            assert time.monotonic() < ends_s, f"{what}: not within {DEADLINE_S} s"
            await asyncio.sleep(POLL_S)

    async def history_has(self, expected: dict[tuple[str, str], int]) -> None:
        """Wait until ClickHouse sums exactly what is expected."""

        async def has() -> bool:
            try:
                found = await asyncio.to_thread(accepted_totals, self.clickhouse)
            except UnavailableError:
                return False
            return {key: each.tokens.total for key, each in found.items()} == expected

        await self.until(has, what=f"ClickHouse sums {expected}")

    async def both_agree(self, gateway: Gateway) -> None:
        """Wait until ledger and ClickHouse hold exactly what the gateway emitted."""
        await gateway.ledger_agrees()
        await self.history_has(gateway.expected)


@asynccontextmanager
async def producing(kafka: KafkaOptions) -> AsyncIterator[AIOKafkaProducer]:
    """Give a producer whose records are acknowledged by all replicas."""
    producer = AIOKafkaProducer(**client_kwargs(kafka), acks="all", enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def emit(kafka: KafkaOptions, event: UsageEvent) -> None:
    """Send one event into the partition of its pool."""
    value, headers = encode_structured(event)
    pool = event.data.pool
    async with producing(kafka) as producer:
        await producer.send_and_wait(
            kafka.topic(USAGE),
            value,
            key=pool.encode(),
            headers=headers,
            partition=partition_of(pool, kafka.partitions),
        )
