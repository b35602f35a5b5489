"""A worker that must not start says what to change, and one that cannot start yet keeps trying."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.ports import free_ports
from deploy.local.provision import provision
from schemas.connections import KafkaOptions
from schemas.specs import EPOCH_KEY, FIRST_EPOCH, EpochRecord
from schemas.topics import POOLS, USAGE
from schemas.wire import encode
from streams.kafka import client_kwargs, topic_partitions
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.loop import Gateway, Worker, until


async def _recreate_usage(options: KafkaOptions) -> None:
    topic = options.topic(USAGE)
    admin = AIOKafkaAdminClient(**client_kwargs(options))
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()

    async def gone() -> bool:
        return topic not in await topic_partitions(options)

    await until(gone, what=f"{topic} is deleted", deadline_s=20.0)
    await provision(options, client=client_kwargs(options))


async def _new_epoch(gateway: Gateway) -> None:
    record = EpochRecord(epoch=FIRST_EPOCH + 1, created_us=1, reason="re-created")
    await gateway.producer.send_and_wait(
        gateway.options.topic(POOLS), encode(record), key=EPOCH_KEY, partition=0
    )


@pytest.mark.slow
async def test_a_recreated_usage_topic_is_refused_and_the_way_out_is_named(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    worker = start_worker()
    await gateway.emit(100)
    await gateway.ledger_agrees()
    worker.stop()
    await _recreate_usage(gateway.options)

    refused = start_worker()

    await refused.wrote("tokenpools new-epoch")
    assert refused.process.wait(20) == 1
    await _new_epoch(gateway)
    start_worker()
    await gateway.emit(100)
    await gateway.ledger_agrees()


async def test_another_number_of_partitions_is_refused_by_topic(
    options: KafkaOptions, tmp_path: Path
) -> None:
    worker = Worker.start(replace(options, partitions=8), tmp_path / "worker.log")

    assert worker.process.wait(30) == 1
    assert "4 partitions, but TOKENPOOLS_PARTITIONS is 8" in worker.log.read_text()


async def test_a_broker_that_is_away_is_named_and_asked_again(tmp_path: Path) -> None:
    nowhere = KafkaOptions(bootstrap=f"127.0.0.1:{free_ports(1)[0]}", partitions=4)
    worker = Worker.start(nowhere, tmp_path / "worker.log")

    await worker.wrote("KAFKA_BOOTSTRAP_SERVERS")
    await worker.wrote("trying again in 0.5 s")
    assert worker.stop() == 0
