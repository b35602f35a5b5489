"""While ClickHouse is away history holds a bounded amount, commits nothing and keeps its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.connections import ClickHouseOptions, KafkaOptions, clickhouse_options
from schemas.partitioning import partition_of
from schemas.topics import USAGE
from streams.history import metrics
from streams.history.batch import TOPICS_READ
from streams.history.feed import Feed
from streams.history.migrate import migrate
from streams.history.reading import PIECE_BYTES, Reading
from streams.history.service import GROUP
from streams.history.settings import Settings
from streams.history.sink import Sink
from streams.kafka import client_kwargs
from tests.integration.engine_fixtures import process_in, started, stopped
from tests.integration.history.test_service import (  # noqa: F401 - `kafka` is a fixture
    DEADLINE_S,
    POOL,
    judge,
    kafka,
    send_usage,
    settings_of,
    total,
    until,
)

EVENTS: Final = 3_000
BATCH_BYTES: Final = 65_536
TRIES: Final = 60
"""Of an insert, 200 ms apart at the least: longer than the group waits for a silent member."""
RECORD_BYTES: Final = 1_024
"""More than any event of this test."""


def settings_for(kafka: KafkaOptions, clickhouse: ClickHouseOptions) -> Settings:  # noqa: F811
    """Small batches, and a group that gives a silent member up after 6 s."""
    return replace(
        settings_of(kafka, clickhouse),
        batch_rows_max=1_000_000,
        batch_bytes_max=BATCH_BYTES,
        flush_ms=60_000,
        poll_interval_ms_max=6_000,
    )


@asynccontextmanager
async def stepping(settings: Settings) -> AsyncIterator[tuple[Reading, Sink, Feed]]:
    """Read and write in the background."""
    feed = Feed(
        settings.kafka,
        group=GROUP,
        topics=TOPICS_READ,
        session_timeout_ms=settings.session_timeout_ms,
        poll_interval_ms_max=settings.poll_interval_ms_max,
        whole_batches=settings.whole_batches,
    )
    await feed.start()
    sink = Sink(settings, feed)
    reading = Reading(settings, feed, sink, epoch=1)

    async def run() -> None:
        while True:
            await reading.step(poll_ms=100)

    running = asyncio.create_task(run())
    try:
        yield reading, sink, feed
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sink.close()
        await feed.stop()


async def committed(kafka: KafkaOptions, partition: int) -> int | None:  # noqa: F811
    """What the group has committed of ``usage``."""
    group = kafka.group(GROUP)
    async with AIOKafkaConsumer(**client_kwargs(kafka), group_id=group) as consumer:
        offset: int | None = await consumer.committed(TopicPartition(kafka.topic(USAGE), partition))
        return offset


@pytest.mark.slow
async def test_while_clickhouse_is_away_memory_is_bounded_and_nothing_is_committed(
    kafka: KafkaOptions,  # noqa: F811
    tmp_path: Path,
) -> None:
    engine = process_in(tmp_path)
    process = await asyncio.to_thread(started, engine)
    options = clickhouse_options({"CLICKHOUSE_DSN": engine.dsn("history")}, read_text=str)
    await asyncio.to_thread(migrate, options)
    await asyncio.to_thread(stopped, process)
    settings = settings_for(kafka, options)
    partition = partition_of(POOL, kafka.partitions)
    last = await send_usage(kafka, range(EVENTS))
    await judge(kafka, last)
    try:
        async with stepping(settings) as (reading, sink, feed):
            bound = BATCH_BYTES + PIECE_BYTES + RECORD_BYTES
            await until(lambda: sink.writing is not None and reading.bytes_waiting > 0, True)
            generation = feed.generation
            held = set()

            def tried() -> bool:
                writing = 0 if sink.writing is None else sink.writing.bytes_count
                held.add((writing, reading.bytes_waiting))
                return bool(metrics.RETRIES._value.get() >= retries + TRIES)

            retries = metrics.RETRIES._value.get()
            await until(tried, True)
            before = await committed(kafka, partition)
            reading.observe()
            age_s = metrics.OLDEST_AGE._value.get()
            lag = feed.lag()[USAGE, partition]
            reading_on = feed.generation

            process = await asyncio.to_thread(started, engine)
            await until(total(options), (11 * EVENTS, EVENTS))

        assert max(max(pair) for pair in held) <= bound
        assert len(held) <= 3, "more was read although nothing was written"
        assert before is None
        assert lag == EVENTS
        assert age_s > TRIES * 0.2
        assert reading_on == generation, "the group gave this member up"
    finally:
        await asyncio.to_thread(stopped, process)
