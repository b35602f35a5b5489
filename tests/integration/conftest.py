"""The servers that integration tests share: one of each for the whole run.

Every test keeps to itself by a topic prefix and a database of its own.  Set
``TOKENPOOLS_TEST_KAFKA`` to the address of a broker that already runs to save its start.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.local.broker import Broker, record_start
from deploy.local.broker_settings import BrokerConfig
from deploy.local.jars import default_cache_dir, ensure_jars
from deploy.local.ports import free_ports
from tests.integration.engine_fixtures import (  # noqa: F401 - fixtures for all tests below
    clickhouse_database,
    clickhouse_dsn,
    local_clickhouse_dsn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@pytest.fixture(scope="session")
def kafka_jars() -> Sequence[Path]:
    """Apache Kafka's jars, fetched on the first run of a machine, and how it starts."""
    jars = ensure_jars(default_cache_dir(os.environ), print)
    record_start(jars, progress=print)
    return jars


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the run's one Kafka broker."""
    if running := os.environ.get("TOKENPOOLS_TEST_KAFKA"):
        yield running
        return
    jars: Sequence[Path] = request.getfixturevalue("kafka_jars")
    port, controller_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="tokenpools-kafka-") as folder:
        config = BrokerConfig(state_dir=Path(folder), port=port, controller_port=controller_port)
        broker = Broker(config, jars=jars, progress=print)
        broker.start()
        try:
            yield broker.bootstrap_servers
        finally:
            broker.stop()


@pytest.fixture
def topic_prefix() -> str:
    """Put before the name of every topic and group of one test."""
    return f"t{uuid.uuid4().hex[:10]}-"
