"""Fixtures: topics of the test's own, a gateway, and workers that are ended whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka import AIOKafkaProducer

from schemas.connections import KafkaOptions
from streams.kafka import client_kwargs
from tests.integration.streams.loop import Gateway, Worker, provisioned


class StartWorker(Protocol):
    """Starts a worker, with settings of its own."""

    def __call__(self, **settings: str) -> Worker:
        """Return the worker."""


@pytest.fixture
async def options(kafka_bootstrap: str, topic_prefix: str) -> KafkaOptions:
    """Provisioned topics with the prefix of this test."""
    options = KafkaOptions(
        bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        group_prefix=topic_prefix,
        partitions=4,
    )
    await provisioned(options)
    return options


@pytest.fixture
async def gateway(options: KafkaOptions) -> AsyncIterator[Gateway]:
    """A gateway that emits usage of the test's pools."""
    producer = AIOKafkaProducer(**client_kwargs(options), acks="all", enable_idempotence=True)
    await producer.start()
    yield Gateway(options, producer)
    await producer.stop()


@pytest.fixture
def start_worker(options: KafkaOptions, tmp_path: Path) -> Iterator[StartWorker]:
    """Start a worker; all are killed after the test."""
    workers: list[Worker] = []

    def start(**settings: str) -> Worker:
        worker = Worker.start(options, tmp_path / f"worker-{len(workers)}.log", **settings)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()
        print(worker.log.read_text())
