"""History keeps every event exactly once: through repeats, abrupt ends and an absent ClickHouse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.provision import provision
from schemas.connections import ClickHouseOptions, KafkaOptions, clickhouse_options
from schemas.partitioning import partition_of
from schemas.positions import Position
from schemas.specs import EPOCH_KEY, EpochRecord
from schemas.topics import POOLS, USAGE, VERDICTS
from schemas.usage import encode_structured
from schemas.verdicts import JudgedThrough, Verdict, VerdictKind
from schemas.wire import encode
from streams.history.batch import TOPICS_READ
from streams.history.client import connect
from streams.history.feed import Feed
from streams.history.migrate import migrate
from streams.history.queries import accepted_totals, read_through
from streams.history.reading import Reading
from streams.history.service import GROUP, LogReplacedError, serve
from streams.history.settings import Settings
from streams.history.sink import Sink
from streams.kafka import client_kwargs
from tests.integration.engine_fixtures import process_in, started, stopped
from tests.integration.history.records import event

DEADLINE_S: Final = 30.0
POLL_S: Final = 0.1
POOL: Final = "chat"
EVENTS: Final = 500

T = TypeVar("T")


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaOptions:
    """A prefix of its own with all topics, in two partitions."""
    options = KafkaOptions(
        bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        group_prefix=topic_prefix,
        partitions=2,
    )
    await provision(options, client=client_kwargs(options))
    return options


def settings_of(kafka: KafkaOptions, clickhouse: ClickHouseOptions) -> Settings:
    return Settings(
        kafka=kafka,
        clickhouse=clickhouse,
        batch_rows_max=100,
        flush_ms=50,
        backoff_ms_max=200,
        session_timeout_ms=6_000,
    )


async def until(observe: Callable[[], T], expected: T) -> None:
    """Return once ``observe`` (in a thread) gives what is expected, within ``DEADLINE_S``."""
    seen: object = None
    try:
        async with asyncio.timeout(DEADLINE_S):
            # Neither the broker nor the engine has an event to wait for.
            while (seen := await asyncio.to_thread(observe)) != expected:  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        pytest.fail(f"still {seen!r} after {DEADLINE_S:g} s, expected {expected!r}")


@asynccontextmanager
async def producer(kafka: KafkaOptions) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(**client_kwargs(kafka), acks="all") as sender:
        yield sender


async def send_usage(kafka: KafkaOptions, numbers: range) -> int:
    """Send events to the pool's partition and return the last offset."""
    async with producer(kafka) as sender:
        sent = []
        for number in numbers:
            value, headers = encode_structured(event(number))
            sent.append(
                await sender.send(kafka.topic(USAGE), value, key=POOL.encode(), headers=headers)
            )
        return max([int((await each).offset) for each in sent])


async def judge(kafka: KafkaOptions, through: int, *, refused: tuple[int, ...] = ()) -> None:
    """Say that everything up to an offset is accepted, but for some offsets."""
    partition = partition_of(POOL, kafka.partitions)
    messages = [
        encode(Verdict(position=Position(1, partition, offset), verdict=VerdictKind.DUPLICATE))
        for offset in refused
    ]
    messages.append(encode(JudgedThrough(epoch=1, partition=partition, offset=through)))
    async with producer(kafka) as sender:
        for message in messages:
            await sender.send_and_wait(kafka.topic(VERDICTS), message, partition=partition)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """Run history; the test ends when it fails, and it must stop soon after it is told to."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(settings, stop))
        yield task
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({task})


def total(options: ClickHouseOptions) -> Callable[[], tuple[int, int]]:
    def observe() -> tuple[int, int]:
        counted = accepted_totals(options).get((POOL, "gold"))
        return (0, 0) if counted is None else (counted.tokens.total, counted.events)

    return observe


async def test_accepted_usage_arrives_and_refused_usage_does_not(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    last = await send_usage(kafka, range(EVENTS))
    await judge(kafka, last, refused=(3, 7))

    async with running(settings_of(kafka, clickhouse)):
        await until(total(clickhouse), (11 * (EVENTS - 2), EVENTS - 2))


@pytest.mark.parametrize("whole_batches", [False, True])
async def test_what_was_read_is_written_when_history_is_told_to_stop(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions, *, whole_batches: bool
) -> None:
    settings = replace(settings_of(kafka, clickhouse), batch_rows_max=1_000_000, flush_ms=60_000)
    await judge(kafka, await send_usage(kafka, range(10)))
    feed = Feed(
        kafka,
        group=GROUP,
        topics=TOPICS_READ,
        session_timeout_ms=6_000,
        whole_batches=whole_batches,
    )
    await feed.start()
    sink = Sink(settings, feed)
    reading = Reading(replace(settings, flush_ms=60_000), feed, sink, epoch=1)

    async with asyncio.timeout(DEADLINE_S):
        while reading.rows_waiting < 11:
            await reading.step(poll_ms=200)
    before = await asyncio.to_thread(accepted_totals, clickhouse)
    await reading.finish()
    await sink.close()
    await feed.stop()

    assert before == {}
    assert await asyncio.to_thread(total(clickhouse)) == (110, 10)


async def test_reading_everything_again_changes_no_sum(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    await judge(kafka, await send_usage(kafka, range(EVENTS)))
    settings = settings_of(kafka, clickhouse)
    async with running(settings):
        await until(total(clickhouse), (11 * EVENTS, EVENTS))

    again = replace(settings, kafka=replace(kafka, group_prefix=f"{kafka.group_prefix}again-"))
    async with running(again):
        await judge(kafka, await send_usage(kafka, range(EVENTS, EVENTS + 1)))

        await until(total(clickhouse), (11 * (EVENTS + 1), EVENTS + 1))


async def test_abrupt_ends_in_the_middle_lose_and_repeat_nothing(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    settings = settings_of(kafka, clickhouse)
    for cut in range(4):
        last = await send_usage(kafka, range(cut * EVENTS, (cut + 1) * EVENTS))
        await judge(kafka, last)
        killed = asyncio.create_task(serve(settings, asyncio.Event()))
        await until(lambda cut=cut: total(clickhouse)()[1] > cut * EVENTS, True)  # type: ignore[misc]  # mypy cannot type the default
        killed.cancel()
        with suppress(asyncio.CancelledError):
            await killed

    async with running(settings):
        await until(total(clickhouse), (11 * 4 * EVENTS, 4 * EVENTS))


async def test_a_second_history_takes_partitions_over_and_no_sum_changes(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    settings = settings_of(kafka, clickhouse)
    async with running(settings) as first, running(settings):
        await judge(kafka, await send_usage(kafka, range(EVENTS)))
        await until(total(clickhouse), (11 * EVENTS, EVENTS))
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        await judge(kafka, await send_usage(kafka, range(EVENTS, 2 * EVENTS)))

        await until(total(clickhouse), (11 * 2 * EVENTS, 2 * EVENTS))


async def test_clickhouse_may_stop_and_come_back(
    kafka: KafkaOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = process_in(tmp_path)
    process = await asyncio.to_thread(started, engine)
    options = clickhouse_options({"CLICKHOUSE_DSN": engine.dsn("history")}, read_text=str)
    await asyncio.to_thread(migrate, options)
    try:
        async with running(settings_of(kafka, options)):
            await judge(kafka, await send_usage(kafka, range(EVENTS)))
            await until(total(options), (11 * EVENTS, EVENTS))
            await asyncio.to_thread(stopped, process)

            await judge(kafka, await send_usage(kafka, range(EVENTS, 2 * EVENTS)))
            await until(lambda: "(CLICKHOUSE_DSN)" in caplog.text, True)

            process = await asyncio.to_thread(started, engine)
            await until(total(options), (11 * 2 * EVENTS, 2 * EVENTS))
    finally:
        await asyncio.to_thread(stopped, process)

    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    ours = [record.getMessage() for record in said if record.name.startswith("streams.history")]
    assert [("CLICKHOUSE_DSN" in text, "is back" in text) for text in ours] == [
        (True, False),
        (False, True),
    ]


async def test_what_cannot_be_read_is_passed_over(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    async with producer(kafka) as sender:
        for topic in TOPICS_READ:
            for value in (b"{", b"null", b"\xff"):
                await sender.send_and_wait(kafka.topic(topic), value, key=POOL.encode())
    last = await send_usage(kafka, range(3))
    await judge(kafka, last)

    async with running(settings_of(kafka, clickhouse)):
        await until(total(clickhouse), (33, 3))


async def test_a_replaced_log_is_refused_until_a_new_epoch_begins(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    partition = partition_of(POOL, kafka.partitions)
    await send_usage(kafka, range(3))
    with connect(clickhouse) as client:
        client.insert(
            "read_through",
            [[USAGE, 1, partition, 1_000]],
            column_names=["topic", "epoch", "partition", "record_offset"],
        )

    with pytest.raises(LogReplacedError, match="new-epoch"):
        await serve(settings_of(kafka, clickhouse), asyncio.Event())

    async with producer(kafka) as sender:
        second = encode(EpochRecord(epoch=2, created_us=1))
        await sender.send_and_wait(kafka.topic(POOLS), second, key=EPOCH_KEY)
    async with running(settings_of(kafka, clickhouse)):
        await until(lambda: read_through(clickhouse, topic=USAGE, epoch=2), {partition: 2})


async def test_an_epoch_that_begins_meanwhile_names_the_positions_from_there_on(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    partition = partition_of(POOL, kafka.partitions)
    async with running(settings_of(kafka, clickhouse)):
        await send_usage(kafka, range(3))
        await until(lambda: read_through(clickhouse, topic=USAGE, epoch=1), {partition: 2})
        async with producer(kafka) as sender:
            second = encode(EpochRecord(epoch=2, created_us=1))
            await sender.send_and_wait(kafka.topic(POOLS), second, key=EPOCH_KEY)
        await until(lambda: 0 in read_through(clickhouse, topic=POOLS, epoch=2).values(), True)
        await send_usage(kafka, range(3, 5))

        await until(lambda: read_through(clickhouse, topic=USAGE, epoch=2), {partition: 4})
