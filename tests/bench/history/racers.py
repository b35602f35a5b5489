"""The two that race: history's own path, and a bare insert, each in a process of its own.

In one process the memory of the one would be the other's: millions of objects held for the bare
insert leave holes over gigabytes of memory, into which the path's short-lived ones fall.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from streams import collector
from streams.history.batch import Block
from streams.history.client import connect
from streams.history.feed import Feed
from streams.history.reading import Reading
from streams.history.settings import Settings
from streams.history.sink import Sink
from streams.history.usage_blocks import USAGE_TABLE
from streams.history.usage_columns import KafkaRecord, UsageColumns
from streams.history.usage_rows import UsageRow
from streams.history.writer import Inserter
from tests.bench.history.traffic import MemoryFeed, consumer_records

ROWS: Final = 500_000
_blocks: Final[list[Block]] = []
_records: Final[list[KafkaRecord]] = []


@contextmanager
def process() -> Iterator[ProcessPoolExecutor]:
    """Yield a process that runs what it is given, one after another."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        yield alone


def emptied(settings: Settings) -> None:
    """Drop every row of the table, so that no run merges another's."""
    with connect(settings.clickhouse) as client:
        client.command("TRUNCATE TABLE usage_raw")


def bare_rows_per_s(settings: Settings) -> float:
    """Insert finished columns, batch by batch, and return rows per second."""
    if not _blocks:
        records = consumer_records(ROWS)
        for at in range(0, ROWS, settings.batch_rows_max):
            usage = UsageColumns(epoch=1)
            usage.add(0, records[at : at + settings.batch_rows_max])
            _blocks.append(Block(USAGE_TABLE, UsageRow._fields, usage.columns()))
        del records, usage
        _settle()
    emptied(settings)
    with connect(settings.clickhouse) as client:
        inserter = Inserter(client)
        started_s = perf_counter()
        for block in _blocks:
            inserter.insert(block)
        return ROWS / (perf_counter() - started_s)


def memory_rows_per_s(settings: Settings) -> float:
    """Write records that are in memory, committed to the last one, and return rows per second."""
    if not _records:
        _records.extend(consumer_records(ROWS))
        _settle()
    feed = MemoryFeed(_records)
    rows_per_s = asyncio.run(_rows_per_s(settings, feed))
    assert feed.committed == ROWS - 1
    return rows_per_s


def kafka_rows_per_s(settings: Settings, topic: str, group: str) -> float:
    """Write what is in the topic as a new group, and return rows per second from the first."""
    collector.slow_down()
    return asyncio.run(_kafka_rows_per_s(settings, topic, group))


async def _kafka_rows_per_s(settings: Settings, topic: str, group: str) -> float:
    feed = Feed(
        settings.kafka,
        group=group,
        topics=[topic],
        session_timeout_ms=10_000,
        whole_batches=settings.whole_batches,
    )
    await feed.start()
    try:
        return await _rows_per_s(settings, feed)
    finally:
        await feed.stop()


async def _rows_per_s(settings: Settings, feed: Feed) -> float:
    """Read until every row is acknowledged and committed; time runs from the first row."""
    await asyncio.to_thread(emptied, settings)
    sink = Sink(settings, feed)
    reading = Reading(settings, feed, sink, epoch=1)
    started_s, rows = perf_counter(), 0
    while rows < ROWS:
        step_s = perf_counter()
        await reading.step(poll_ms=500)
        if not rows:
            started_s = step_s
        rows = sink.rows_taken + reading.rows_waiting
    await reading.finish()
    seconds = perf_counter() - started_s
    await sink.close()
    return ROWS / seconds


def _settle() -> None:
    """No process holds so many records for long: the collector shall not walk them."""
    collector.slow_down()
    gc.collect()
    gc.freeze()
