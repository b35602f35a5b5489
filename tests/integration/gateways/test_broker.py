"""The gateway's way to a real broker, and the replayer's capacity records and scale decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from admission.gateways.client import GatewayClient, wall_us
from admission.gateways.emitter import Emitter
from admission.gateways.kafka import KafkaTransport
from admission.gateways.limits import BATCH_BYTES_MAX, GatewayLimits
from console.replay.record import read_totals
from console.replay.replayer import replay
from console.replay.replicas import WRITER
from console.replay.stats import ReplayStats
from deploy.local.ports import free_ports
from deploy.local.provision import provision
from schemas.capacity import PoolCapacity, WriterRank, capacity_key
from schemas.connections import KafkaOptions
from schemas.errors import UnavailableError
from schemas.partitioning import partition_of
from schemas.scaling import ScaleDecision, ScaleDirection
from schemas.topics import POOL_CAPACITY, SCALE_DECISIONS
from schemas.usage import ATTRIBUTES_MAX, EVENTS_PER_RECORD_MAX
from schemas.wire import decode, encode
from streams.kafka import Publisher, client_kwargs
from streams.topic_logs import Follower, Record
from tests.component.gateways.fake_admitter import FakeAdmitter
from tests.component.gateways.samples import BODY, FAST, usage
from tests.component.gateways.test_client import COUNTS, run
from tests.component.gateways.transports import StoredRecord, check_transport
from tests.component.replay.worlds import arrivals, plan_of
from tests.integration.gateways.usage_log import UsageLog, events_of, headers_of, usage_log_of

DEADLINE_S = 60


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaOptions:
    """The run's broker with this test's own topics."""
    options = KafkaOptions(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix, partitions=2)
    await provision(options, client=client_kwargs(options))
    return options


class Log:
    """Follows a topic and keeps its records; ``until`` waits for what they must come to."""

    def __init__(self, kafka: KafkaOptions, topic: str) -> None:
        self.records: list[Record] = []
        self._moved = asyncio.Event()
        self._follower = Follower(kafka, topic, handler=self._keep)

    async def __aenter__(self) -> Log:
        await self._follower.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._follower.stop()

    async def until(self, holds: Callable[[list[Record]], bool]) -> None:
        """Return when it holds for the records so far."""
        while not holds(self.records):
            self._moved.clear()
            await self._moved.wait()

    def _keep(self, record: Record) -> None:
        self.records.append(record)
        self._moved.set()


@pytest.fixture
async def usage_log(kafka: KafkaOptions) -> AsyncIterator[UsageLog]:
    async with usage_log_of(kafka) as log:
        yield log


async def test_the_kafka_transport_keeps_the_contract(
    kafka: KafkaOptions, usage_log: UsageLog
) -> None:
    async def stored() -> list[StoredRecord]:
        await usage_log.until(lambda records: len(records) >= 3)
        return [
            (record.key or b"", record.value or b"", headers_of(record))
            for record in usage_log.records
        ]

    async with asyncio.timeout(DEADLINE_S):
        await check_transport(KafkaTransport(kafka, FAST), stored)


@pytest.mark.parametrize(
    ("linger_ms", "records"),
    [pytest.param(0, 20, id="singly"), pytest.param(60_000, 3, id="in frames of 8, 8 and 4")],
)
async def test_usage_lands_in_its_pool_s_partition(
    kafka: KafkaOptions, usage_log: UsageLog, linger_ms: int, records: int
) -> None:
    limits = GatewayLimits(linger_ms=linger_ms, frame_events_max=8, close_ms_max=30_000)
    transport = KafkaTransport(kafka, limits)
    async with asyncio.timeout(DEADLINE_S), FakeAdmitter() as admitter:
        async with GatewayClient([admitter.url], transport, source="gw", limits=limits) as client:
            for _ in range(20):
                await run(client, body=BODY)
        await usage_log.until_its_end()

    assert client.emitter.delivered == 20
    assert len(usage_log.records) == records
    assert {record.partition for record in usage_log.records} == {partition_of("chat", 2)}
    assert [event.sequence for event in usage_log.events] == list(range(1, 21))
    assert all(event.data.counts == COUNTS for event in usage_log.events)


async def test_the_largest_frames_fit_the_topic(kafka: KafkaOptions, usage_log: UsageLog) -> None:
    limits = GatewayLimits(
        frame_events_max=EVENTS_PER_RECORD_MAX,
        frame_bytes_max=BATCH_BYTES_MAX,
        linger_ms=60_000,
        close_ms_max=30_000,
    )
    big = {f"{number:0>256}": "x" * 256 for number in range(ATTRIBUTES_MAX)}
    emitter = Emitter(KafkaTransport(kafka, limits), source="s", limits=limits)
    async with asyncio.timeout(DEADLINE_S):
        await emitter.start()
        for pool in ("chat", "other") * 100:
            await emitter.place()
            data = usage(pool, sequence=0).data
            emitter.submit(msgspec.structs.replace(data, attributes=big))
        await emitter.stop()
        await usage_log.until_its_end()

    assert (emitter.delivered, emitter.undelivered) == (200, 0)
    assert len(usage_log.records) == 4
    assert max(len(record.value or b"") for record in usage_log.records) > BATCH_BYTES_MAX * 0.9
    assert len(usage_log.events) == 200


async def test_a_broker_that_is_not_there_is_named() -> None:
    nobody = KafkaOptions(bootstrap=f"127.0.0.1:{free_ports(1)[0]}")

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(UnavailableError, match="KAFKA_BOOTSTRAP_SERVERS"):
            await KafkaTransport(nobody, FAST).start()


async def test_a_replay_reports_capacity_obeys_decisions_and_takes_its_record_back(
    kafka: KafkaOptions, tmp_path: Path, usage_log: UsageLog
) -> None:
    stop, stats = asyncio.Event(), ReplayStats(run_id="run")
    last = arrivals("a", "a", gap_ms=60_000)[1:]
    plan = plan_of([*arrivals("a", "b", "a", "b"), *last], tmp_path, admission=True)
    publisher = Publisher(kafka, client_id="test")
    await publisher.start()
    async with (
        asyncio.timeout(DEADLINE_S),
        FakeAdmitter() as admitter,
        Log(kafka, POOL_CAPACITY) as capacity,
    ):
        running = asyncio.create_task(
            replay(plan, kafka=kafka, urls=[admitter.url], stats=stats, stop=stop)
        )
        await capacity.until(bool)
        await publisher.send_all(
            kafka.topic(SCALE_DECISIONS),
            [(partition_of("chat", 2), b"chat", encode(two_replicas()), ())],
        )
        await capacity.until(lambda records: any(ready_of(each) == 2 for each in records))
        await usage_log.until(lambda records: len(events_of(records)) >= 4)
        stop.set()
        result = await running
        await capacity.until(lambda records: records[-1].value is None)
        await usage_log.until_its_end()
    await publisher.stop()

    first = decode(capacity.records[0].value or b"", PoolCapacity)
    assert (first.rank, first.ready, first.writer) == (WriterRank.REPLAYER, 1, WRITER)
    assert {record.key for record in capacity.records} == {capacity_key("chat", WRITER)}
    assert [change.ready for change in result.replica_changes] == [1, 2]
    emitted = sum(event.data.counts.total for event in usage_log.events)
    assert read_totals([plan.record_path]).tokens == emitted
    assert {event.source for event in usage_log.events} == {result.source}
    assert "/run/" in result.source


def ready_of(record: Record) -> int:
    """The ready replicas of a capacity record; 0 for a tombstone."""
    return decode(record.value, PoolCapacity).ready if record.value else 0


def two_replicas() -> ScaleDecision:
    return ScaleDecision(
        id="d",
        pool="chat",
        at_us=wall_us(),
        direction=ScaleDirection.UP,
        current=1,
        ready=1,
        starting=0,
        desired=2,
        raw_desired=2,
        reason="test",
    )
