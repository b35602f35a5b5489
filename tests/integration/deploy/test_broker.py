"""The local Kafka broker itself: started, stopped and killed by each test."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.broker import Broker, BrokerFailedError
from deploy.local.broker_settings import BrokerConfig
from deploy.local.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

pytestmark = pytest.mark.slow

TOPIC = "usage"
RECORDS = [f"record {number}".encode() for number in range(200)]
READ_DEADLINE_MS = 20_000


def new_config(state_dir: Path, properties: Mapping[str, str] | None = None) -> BrokerConfig:
    port, controller_port = free_ports(2)
    return BrokerConfig(
        state_dir=state_dir,
        port=port,
        controller_port=controller_port,
        extra_properties=properties or {},
    )


@contextmanager
def running(config: BrokerConfig, jars: Sequence[Path]) -> Iterator[Broker]:
    broker = Broker(config, jars=jars)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


async def create_topic(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def write_all(bootstrap: str) -> None:
    """Write every record and wait until the broker acknowledged each."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for future in [await producer.send(TOPIC, record) for record in RECORDS]:
            await future
    finally:
        await producer.stop()


async def read_all(bootstrap: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        read: list[bytes] = []
        while len(read) < end:
            polled = await consumer.getmany(timeout_ms=READ_DEADLINE_MS)
            assert polled, f"nothing more within {READ_DEADLINE_MS} ms after {len(read)} of {end}"
            read += [record.value for record in polled[partition]]
        return read
    finally:
        await consumer.stop()


async def test_without_java_on_the_path_topics_survive_a_restart_on_other_ports(
    tmp_path: Path, kafka_jars: Sequence[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    state_dir = tmp_path / "state of é"
    with running(new_config(state_dir), kafka_jars) as broker:
        await create_topic(broker.bootstrap_servers)
        await write_all(broker.bootstrap_servers)

    with running(new_config(state_dir), kafka_jars) as broker:
        assert await read_all(broker.bootstrap_servers) == RECORDS


async def test_acknowledged_records_survive_kill_nine(
    tmp_path: Path, kafka_jars: Sequence[Path]
) -> None:
    config = new_config(tmp_path)
    with running(config, kafka_jars) as broker:
        await create_topic(broker.bootstrap_servers)
        await write_all(broker.bootstrap_servers)
        broker.kill()

        broker.start()

        assert await read_all(broker.bootstrap_servers) == RECORDS


def test_a_broker_that_ends_at_its_start_shows_what_it_logged(
    tmp_path: Path, kafka_jars: Sequence[Path]
) -> None:
    properties = {"metric.reporters": "no.such.Reporter"}
    broker = Broker(new_config(tmp_path, properties), jars=kafka_jars)

    with pytest.raises(BrokerFailedError, match=r"no\.such\.Reporter"):
        broker.start()

    assert broker.pid is None
