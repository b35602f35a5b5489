"""The local Kafka broker itself: started, stopped, killed, refused and secured by each test."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError

from deploy.local.broker import Broker, BrokerFailedError, BrokerRunningError
from deploy.local.broker_settings import BrokerConfig, Listener
from deploy.local.ports import PortTakenError, free_ports
from tests.integration.secured_broker import (
    PLAIN_USERS,
    SCRAM_USERS,
    SECURED,
    Certificates,
    make_certificates,
    secured_properties,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping, Sequence

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


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return make_certificates()


@pytest.fixture(scope="module")
def secured(
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
    kafka_jars: Sequence[Path],
) -> Iterator[Broker]:
    """A running broker with a SASL_SSL listener beside the plain one."""
    port, controller_port, secured_port = free_ports(3)
    config = BrokerConfig(
        state_dir=tmp_path_factory.mktemp("secured"),
        port=port,
        controller_port=controller_port,
        extra_listeners=(Listener(name=SECURED, protocol="SASL_SSL", port=secured_port),),
        extra_properties=secured_properties(certificates),
        scram_users=SCRAM_USERS,
    )
    with running(config, kafka_jars) as broker:
        yield broker


def test_a_second_start_on_the_same_directory_names_the_process_that_has_it(
    secured: Broker, kafka_jars: Sequence[Path]
) -> None:
    second = Broker(new_config(secured.config.state_dir), jars=kafka_jars)

    with pytest.raises(BrokerRunningError, match=str(secured.config.state_dir)) as refused:
        second.start()

    assert refused.value.pid == secured.pid


def test_a_port_that_is_taken_is_named_with_its_option(
    secured: Broker, tmp_path: Path, kafka_jars: Sequence[Path]
) -> None:
    config = replace(secured.config, state_dir=tmp_path, port_option="--kafka-port")

    with pytest.raises(PortTakenError, match=f"{config.port}.*--kafka-port"):
        Broker(config, jars=kafka_jars).start()


def test_only_its_owner_can_read_the_brokers_settings(secured: Broker) -> None:
    assert secured.config.properties_file.stat().st_mode & 0o077 == 0


async def topics_as(
    address: str, context: ssl.SSLContext, mechanism: str, user: str, password: str
) -> list[str]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=address,
        security_protocol="SASL_SSL",
        ssl_context=context,
        sasl_mechanism=mechanism,
        sasl_plain_username=user,
        sasl_plain_password=password,
    )
    try:
        await admin.start()
        topics: list[str] = await admin.list_topics()
        return topics
    finally:
        await admin.close()


@pytest.mark.parametrize(
    ("mechanism", "users"),
    [
        pytest.param("PLAIN", PLAIN_USERS, id="PLAIN"),
        pytest.param("SCRAM-SHA-512", SCRAM_USERS, id="SCRAM"),
    ],
)
async def test_a_secured_listener_lets_in_only_who_has_the_password(
    secured: Broker,
    certificates: Certificates,
    tmp_path: Path,
    mechanism: str,
    users: Mapping[str, str],
) -> None:
    address = f"127.0.0.1:{secured.config.extra_listeners[0].port}"
    context = certificates.client_context(tmp_path)
    (user, password) = next(iter(users.items()))

    assert await topics_as(address, context, mechanism, user, password) == []
    with pytest.raises(KafkaConnectionError):
        await topics_as(address, context, mechanism, user, "wrong")
