"""Rows per second from records to acknowledged rows, beside a bare insert of the same rows.

The path is history's own: ``Reading`` decodes and fills batches while ``Sink`` inserts the one
before and commits it.  The ceiling inserts the finished columns of the same batches, one after the
other, into the same table with the same settings, in the same run; the two take turns.
"""

from __future__ import annotations

import asyncio
import gc
from statistics import median
from time import perf_counter
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.provision import provision
from schemas.connections import ClickHouseOptions, KafkaOptions, clickhouse_options
from schemas.topics import USAGE
from streams.history.batch import Batch, Block
from streams.history.client import connect
from streams.history.feed import Feed
from streams.history.migrate import migrate
from streams.history.reading import Reading
from streams.history.settings import Settings
from streams.history.sink import Sink
from streams.history.writer import Inserter
from streams.kafka import client_kwargs
from tests.bench.figures import Figure
from tests.bench.history.traffic import MemoryFeed, consumer_records

ROWS: Final = 200_000
RUNS: Final = 5
WARM_UP: Final = 1
CEILING: Final = "a bare columnar insert"


@pytest.fixture
def settings(clickhouse_database: str) -> Settings:
    """A migrated database; the broker's address is set where there is one."""
    options = clickhouse_options({"CLICKHOUSE_DSN": clickhouse_database}, read_text=str)
    migrate(options)
    return Settings(kafka=KafkaOptions(bootstrap="127.0.0.1:1"), clickhouse=options)


def blocks_of(settings: Settings) -> list[Block]:
    """Return the usage of every batch as finished columns."""
    records = consumer_records(ROWS)
    made = []
    for at in range(0, ROWS, settings.batch_rows_max):
        batch = Batch(epoch=1)
        batch.add(USAGE, 0, records[at : at + settings.batch_rows_max])
        made += [block for block in batch.blocks() if block.table == "usage_raw"]
    return made


def emptied(options: ClickHouseOptions) -> None:
    """Drop every row of the table, so that no run merges another's."""
    with connect(options) as client:
        client.command("TRUNCATE TABLE usage_raw")


def stored(options: ClickHouseOptions) -> int:
    with connect(options) as client:
        rows: int = client.query("SELECT count() FROM usage_raw FINAL").result_rows[0][0]
    return rows


def bare_rows_per_s(options: ClickHouseOptions, blocks: list[Block]) -> float:
    """Insert finished columns and return rows per second."""
    emptied(options)
    with connect(options) as client:
        inserter = Inserter(client)
        started_s = perf_counter()
        for block in blocks:
            inserter.insert(block)
        return ROWS / (perf_counter() - started_s)


async def path_rows_per_s(settings: Settings, feed: Feed, *, start_at_rows: bool = False) -> float:
    """Read until every row is acknowledged and committed, and return rows per second."""
    await asyncio.to_thread(emptied, settings.clickhouse)
    sink = Sink(settings, feed)
    reading = Reading(settings, feed, sink, epoch=1)
    started_s, rows = perf_counter(), 0
    while rows < ROWS:
        await reading.step(poll_ms=500)
        rows = sink.rows_taken + reading.rows_waiting
        if start_at_rows and not rows:
            started_s = perf_counter()
    await reading.finish()
    seconds = perf_counter() - started_s
    await sink.close()
    return ROWS / seconds


@pytest.mark.timeout(600)
async def test_insert_from_memory(settings: Settings, figures: list[Figure]) -> None:
    records, blocks = consumer_records(ROWS), blocks_of(settings)
    gc.freeze()  # history never holds so many records: the collector shall not walk them
    bare, path = [], []
    for _ in range(WARM_UP + RUNS):
        bare.append(await asyncio.to_thread(bare_rows_per_s, settings.clickhouse, blocks))
        feed = MemoryFeed(records)
        path.append(await path_rows_per_s(settings, feed))
        assert feed.committed == ROWS - 1

    assert await asyncio.to_thread(stored, settings.clickhouse) == ROWS
    figures.append(figure("history.insert", path, bare))


@pytest.mark.timeout(900)
async def test_insert_from_the_broker(
    settings: Settings, kafka_bootstrap: str, topic_prefix: str, figures: list[Figure]
) -> None:
    kafka = KafkaOptions(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix, partitions=1)
    await provision(kafka, client=client_kwargs(kafka))
    await produce(kafka)
    blocks = blocks_of(settings)
    bare, path = [], []
    for run in range(WARM_UP + RUNS):
        bare.append(await asyncio.to_thread(bare_rows_per_s, settings.clickhouse, blocks))
        feed = Feed(kafka, group=f"bench-{run}", topics=[USAGE], session_timeout_ms=10_000)
        await feed.start()
        path.append(await path_rows_per_s(settings, feed, start_at_rows=True))
        await feed.stop()

    assert await asyncio.to_thread(stored, settings.clickhouse) == ROWS
    figures.append(figure("history.insert.kafka", path, bare))


async def produce(kafka: KafkaOptions) -> None:
    async with AIOKafkaProducer(**client_kwargs(kafka), linger_ms=20) as sender:
        for record in consumer_records(ROWS):
            await sender.send(
                kafka.topic(USAGE), record.value, key=record.key, headers=list(record.headers)
            )


def figure(name: str, path: list[float], bare: list[float]) -> Figure:
    """Return the medians without the first runs."""
    value, ceiling = median(path[WARM_UP:]), median(bare[WARM_UP:])
    return Figure(name, value, "rows/s", ceiling, CEILING, more_is_better=True)
