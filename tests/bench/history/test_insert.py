"""Rows per second from records to acknowledged rows, beside a bare insert of the same rows.

The path is history's own: ``Reading`` decodes and fills batches while ``Sink`` inserts the one
before and commits it.  The ceiling inserts the finished columns of the same batches, one after the
other, into the same table with the same settings, in the same run; the two take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.provision import provision
from schemas.connections import KafkaOptions, clickhouse_options
from schemas.topics import USAGE
from streams.history.client import connect
from streams.history.migrate import migrate
from streams.history.settings import Settings
from streams.kafka import client_kwargs
from tests.bench.figures import Figure
from tests.bench.history.racers import (
    ROWS,
    bare_rows_per_s,
    kafka_rows_per_s,
    memory_rows_per_s,
    process,
)
from tests.bench.history.traffic import consumer_records

RUNS: Final = 5
WARM_UP: Final = 1
CEILING: Final = "a bare columnar insert"


@pytest.fixture
def settings(clickhouse_database: str) -> Settings:
    """A migrated database; the broker's address is set where there is one."""
    options = clickhouse_options({"CLICKHOUSE_DSN": clickhouse_database}, read_text=str)
    migrate(options)
    return Settings(kafka=KafkaOptions(bootstrap="127.0.0.1:1"), clickhouse=options)


def stored(settings: Settings) -> int:
    with connect(settings.clickhouse) as client:
        rows: int = client.query("SELECT count() FROM usage_raw FINAL").result_rows[0][0]
    return rows


def race(name: str, settings: Settings, path: Callable[[int], tuple[Any, ...]]) -> Figure:
    """Return the medians of ``path`` (a function and its arguments for each run) and the bare."""
    ours: list[float] = []
    bare: list[float] = []
    with process() as one, process() as other:
        for run in range(WARM_UP + RUNS):
            bare.append(other.submit(bare_rows_per_s, settings).result())
            ours.append(one.submit(*path(run)).result())
            assert stored(settings) == ROWS
    value, ceiling = median(ours[WARM_UP:]), median(bare[WARM_UP:])
    return Figure(name, value, "rows/s", ceiling, CEILING, more_is_better=True)


@pytest.mark.timeout(900)
def test_insert_from_memory(settings: Settings, figures: list[Figure]) -> None:
    figures.append(race("history.insert", settings, lambda _run: (memory_rows_per_s, settings)))


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaOptions:
    """A broker whose topic of usage has every record in its one partition."""
    options = KafkaOptions(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix, partitions=1)
    await provision(options, client=client_kwargs(options))
    async with AIOKafkaProducer(**client_kwargs(options), linger_ms=20) as sender:
        for record in consumer_records(ROWS):
            await sender.send(
                options.topic(USAGE), record.value, key=record.key, headers=list(record.headers)
            )
    return options


@pytest.mark.timeout(900)
def test_insert_from_the_broker(
    settings: Settings, kafka: KafkaOptions, figures: list[Figure]
) -> None:
    ours = replace(settings, kafka=kafka)
    figures.append(
        race(
            "history.insert.kafka",
            ours,
            lambda run: (kafka_rows_per_s, ours, USAGE, f"bench-{run}"),
        )
    )
