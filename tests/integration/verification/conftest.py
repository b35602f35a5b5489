"""Topics and a database of the test's own, a worker and history between them, and the command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schemas.connections import ClickHouseOptions, KafkaOptions, clickhouse_options
from streams.history.service import serve
from streams.history.settings import Settings
from tests.integration.streams.loop import Gateway, Worker, provisioned
from tests.integration.verification.operator import Operator, producing

DEADLINE_S = 60.0


@pytest.fixture
def clickhouse(migrated_database: str) -> ClickHouseOptions:
    """The options of a database of its own, migrated."""
    return clickhouse_options({"CLICKHOUSE_DSN": migrated_database}, read_text=str)


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaOptions:
    """Provisioned topics with the pools of the streams tests."""
    options = KafkaOptions(
        bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        group_prefix=topic_prefix,
        partitions=4,
    )
    await provisioned(options)
    return options


@pytest.fixture
async def gateway(kafka: KafkaOptions) -> AsyncIterator[Gateway]:
    """A gateway that knows what it emitted."""
    async with producing(kafka) as producer:
        yield Gateway(kafka, producer)


@pytest.fixture
def worker(kafka: KafkaOptions, tmp_path: Path) -> Iterator[Worker]:
    """One streams worker, killed after the test."""
    running = Worker.start(kafka, tmp_path / "worker.log")
    yield running
    if running.process.poll() is None:
        running.kill()
    print(running.log.read_text())


@pytest.fixture
async def history(kafka: KafkaOptions, clickhouse: ClickHouseOptions) -> AsyncIterator[Settings]:
    """History in this process; the test ends when it fails."""
    settings = Settings(kafka=kafka, clickhouse=clickhouse, flush_ms=50, session_timeout_ms=6_000)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(settings, stop))
        yield settings
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({task})


@pytest.fixture
def operator(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions, migrated_database: str
) -> Operator:
    """Somebody who types ``tokenpools`` commands."""
    return Operator(kafka, clickhouse, migrated_database)
