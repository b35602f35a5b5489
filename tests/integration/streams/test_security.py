"""A worker on a SASL_SSL listener: our own clients and Faust's log in alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.broker import Broker
from deploy.local.broker_settings import BrokerConfig, Listener
from deploy.local.ports import free_ports
from schemas.connections import KafkaOptions
from streams.kafka import client_kwargs
from tests.integration.secured_broker import (
    SCRAM_USERS,
    SECURED,
    make_certificates,
    secured_properties,
)
from tests.integration.streams.loop import Gateway, Worker, provisioned


@pytest.fixture
def secured(tmp_path: Path, kafka_jars: Sequence[Path]) -> Iterator[KafkaOptions]:
    """The options for a broker that asks for a certificate and a password."""
    certificates = make_certificates()
    port, controller_port, secured_port = free_ports(3)
    config = BrokerConfig(
        state_dir=tmp_path / "broker",
        port=port,
        controller_port=controller_port,
        extra_listeners=(Listener(name=SECURED, protocol="SASL_SSL", port=secured_port),),
        extra_properties=secured_properties(certificates),
        scram_users=SCRAM_USERS,
    )
    files = {
        "authority.pem": certificates.authority,
        "client.pem": certificates.client.certificate,
        "client.key": certificates.client.key,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    broker = Broker(config, jars=kafka_jars, progress=print)
    broker.start()
    ((user, password),) = SCRAM_USERS.items()
    yield KafkaOptions(
        bootstrap=f"127.0.0.1:{secured_port}",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username=user,
        sasl_password=password,
        ssl_ca_file=str(tmp_path / "authority.pem"),
        ssl_cert_file=str(tmp_path / "client.pem"),
        ssl_key_file=str(tmp_path / "client.key"),
        partitions=2,
    )
    broker.stop()


async def test_a_worker_meters_over_sasl_ssl_and_logs_no_secret(
    secured: KafkaOptions, tmp_path: Path
) -> None:
    await provisioned(secured)
    producer = AIOKafkaProducer(**client_kwargs(secured), acks="all")
    await producer.start()
    gateway = Gateway(secured, producer)
    worker = Worker.start(secured, tmp_path / "worker.log")
    try:
        await gateway.emit(200)

        await gateway.ledger_agrees()
    finally:
        await producer.stop()
        worker.stop()
        print(worker.log.read_text())

    assert secured.sasl_password not in worker.log.read_text()
