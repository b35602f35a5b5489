"""Demand becomes scale decisions: from ClickHouse, from the topic ticks while it is away, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Final

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.provision import provision
from schemas.connections import ClickHouseOptions, KafkaOptions, clickhouse_options
from schemas.partitioning import partition_of
from schemas.positions import Version
from schemas.scaling import DemandSource, ScaleDecision, ScaleDirection
from schemas.specs import PoolRecord
from schemas.ticks import EntitlementInput, EntitlementOutput, Tick, TickInputs
from schemas.topics import POOLS, SCALE_DECISIONS, TICKS
from schemas.units import Resources
from schemas.wire import decode, encode
from streams.autoscaler import service as autoscaler
from streams.autoscaler.settings import Settings
from streams.history import service as history
from streams.history.client import connect
from streams.history.settings import Settings as HistorySettings
from streams.kafka import client_kwargs

DEADLINE_S: Final = 40.0
POLL_S: Final = 0.1
TICK_S: Final = 0.1
POOL: Final = "chat"
SPEC: Final = {
    "kind": "pool",
    "pool": {
        "name": POOL,
        "model": "llama",
        "replicas": {"min": 1, "max": 9},
        "perReplica": {"tokensPerSecond": 100, "kvCacheGiB": 1, "concurrency": 10},
        "kvBytesPerToken": 1_000,
        "scaling": {"windowSeconds": 30, "stabilizationSeconds": 0, "cooldownSeconds": 0},
    },
    "entitlements": [
        {
            "uid": "synth",
            "tenantId": "acme",
            "poolRef": {"name": POOL},
            "qos": {"serviceClass": "elastic"},
            "resources": {"tokensPerSecond": 400, "kvCacheGiB": 1, "concurrency": 10},
        }
    ],
}
WANTED: Final = 3
"""Replicas for a demand of 250 tokens/s."""


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaOptions:
    """A prefix of its own with all topics, and one pool."""
    options = KafkaOptions(
        bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        group_prefix=topic_prefix,
        partitions=2,
    )
    await provision(options, client=client_kwargs(options))
    async with AIOKafkaProducer(**client_kwargs(options)) as producer:
        record = encode(msgspec.convert(SPEC, PoolRecord))
        await producer.send_and_wait(options.topic(POOLS), record, key=POOL.encode())
    return options


@pytest.fixture
def clickhouse(migrated_database: str) -> ClickHouseOptions:
    return clickhouse_options({"CLICKHOUSE_DSN": migrated_database}, read_text=str)


def tick(number: int) -> Tick:
    return Tick(
        pool=POOL,
        version=Version(1, 1, number),
        capacity=Resources(100, 1 << 30, 10),
        inputs=TickInputs(
            at_us=time.time_ns() // 1_000,
            elapsed_us=100_000,
            spec_version=0,
            replicas_ready=1,
            entitlements=(
                EntitlementInput(entitlement="synth", demand=Resources(tokens_per_s=250)),
            ),
        ),
        outputs=(
            msgspec.convert(
                {"entitlement": "synth", "service_class": "elastic", "status": "bound"},
                EntitlementOutput,
            ),
        ),
    )


@asynccontextmanager
async def ticking(kafka: KafkaOptions) -> AsyncIterator[None]:
    """Publish a tick of the pool every ``TICK_S``, as streams does."""
    stop = asyncio.Event()

    async def publish() -> None:
        async with AIOKafkaProducer(**client_kwargs(kafka)) as producer:
            for number in count():
                value = encode(tick(number))
                await producer.send_and_wait(kafka.topic(TICKS), value, key=POOL.encode())
                if await waited(stop):
                    return

    async with asyncio.TaskGroup() as group:
        group.create_task(publish())
        yield
        stop.set()


async def waited(stop: asyncio.Event) -> bool:
    """Say whether to stop, at the latest after ``TICK_S``."""
    try:
        async with asyncio.timeout(TICK_S):
            return await stop.wait()
    except TimeoutError:
        return False


def settings_of(kafka: KafkaOptions, clickhouse: ClickHouseOptions) -> Settings:
    return Settings(kafka=kafka, clickhouse=clickhouse, interval_ms=200, session_timeout_ms=6_000)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Event]:
    """Run an autoscaler until its event is set, or the block ends."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(autoscaler.serve(settings, stop))
        yield stop
        stop.set()


@asynccontextmanager
async def history_running(settings: HistorySettings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(history.serve(settings, stop))
        yield
        stop.set()


async def first_decision(
    kafka: KafkaOptions, wanted: Callable[[ScaleDecision], bool]
) -> ScaleDecision:
    """Return the first decision on the topic that is wanted, within ``DEADLINE_S``."""
    place = TopicPartition(kafka.topic(SCALE_DECISIONS), partition_of(POOL, kafka.partitions))
    consumer = AIOKafkaConsumer(**client_kwargs(kafka), auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([place])
        async with asyncio.timeout(DEADLINE_S):
            async for record in consumer:
                decision = decode(record.value, ScaleDecision)
                if wanted(decision):
                    return decision
    finally:
        await consumer.stop()
    raise AssertionError("the consumer ended")


async def test_demand_in_clickhouse_orders_replicas_and_history_keeps_the_decision(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    sink = HistorySettings(kafka=kafka, clickhouse=clickhouse, flush_ms=100)
    async with history_running(sink), ticking(kafka), running(settings_of(kafka, clickhouse)):
        decision = await first_decision(
            kafka, lambda seen: seen.source is DemandSource.CLICKHOUSE and seen.ticks_seen > 0
        )
        stored = await stored_decision(clickhouse, decision.id)

    assert (decision.desired, decision.raw_desired, decision.dimension) == (
        WANTED,
        WANTED,
        "throughput",
    )
    assert decision.demand.tokens_per_s == 250
    assert decision.window_end_us - decision.window_start_us == 30_000_000
    assert stored == (WANTED, "clickhouse", decision.window_start_us)


async def stored_decision(options: ClickHouseOptions, id: str) -> tuple[int, str, int]:
    """Return what ClickHouse holds of a decision, once it does."""
    sql = """
SELECT desired, source, toUnixTimestamp64Micro(window_start) FROM scale_decisions FINAL
WHERE id = {id:String}
"""
    with connect(options) as client:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                rows = await asyncio.to_thread(client.query, sql, parameters={"id": id})
                if rows.result_rows:
                    desired, source, start_us = rows.result_rows[0]
                    return desired, source, start_us
                await asyncio.sleep(POLL_S)


async def test_while_clickhouse_is_away_the_topic_stands_in_and_says_so(
    kafka: KafkaOptions,
) -> None:
    nowhere = ClickHouseOptions("127.0.0.1", 1, "nothing")
    async with ticking(kafka), running(settings_of(kafka, nowhere)):
        decision = await first_decision(kafka, lambda seen: True)

    assert (decision.source, decision.desired, decision.direction) == (
        DemandSource.TICKS,
        WANTED,
        ScaleDirection.UP,
    )
    assert decision.ticks_seen > 0


async def test_one_of_two_decides_and_the_other_takes_over(kafka: KafkaOptions) -> None:
    settings = settings_of(kafka, ClickHouseOptions("127.0.0.1", 1, "nothing"))
    async with ticking(kafka), running(settings) as first:
        before = await first_decision(kafka, lambda seen: True)
        async with running(replace(settings, interval_ms=100)):
            first.set()
            after = await first_decision(
                kafka, lambda seen: incarnation_of(seen) != incarnation_of(before)
            )

    assert after.desired == WANTED


def incarnation_of(decision: ScaleDecision) -> str:
    return decision.id.partition("/")[0]


async def test_without_a_live_tick_nothing_is_decided(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    async with AIOKafkaProducer(**client_kwargs(kafka)) as producer:
        await producer.send_and_wait(kafka.topic(TICKS), encode(tick(0)), key=POOL.encode())
    async with running(settings_of(kafka, clickhouse)):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await first_decision(kafka, lambda seen: True)
