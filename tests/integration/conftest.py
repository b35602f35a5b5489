"""The servers that integration tests share: one of each for the whole run.

Every test keeps to itself by a topic prefix and a database of its own.  Set
``TOKENPOOLS_TEST_KAFKA`` to the address of a broker that already runs to save its start.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import ExitStack
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
    migrated_database,
    spare_databases,
)
from tests.integration.shared import Stop, shared_by_the_run

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(scope="session")
def kafka_jars() -> Sequence[Path]:
    """Apache Kafka's jars, fetched on the first run of a machine, and how it starts."""
    jars = ensure_jars(default_cache_dir(os.environ), print)
    record_start(jars, progress=print)
    return jars


@pytest.fixture(scope="session")
def kafka_bootstrap(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The address of the run's one Kafka broker, which all workers share."""
    if running := os.environ.get("TOKENPOOLS_TEST_KAFKA"):
        return running
    jars: Sequence[Path] = request.getfixturevalue("kafka_jars")

    def start() -> tuple[str, Stop]:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenpools-kafka-"))
            port, controller_port = free_ports(2)
            config = BrokerConfig(
                state_dir=Path(folder), port=port, controller_port=controller_port
            )
            broker = Broker(config, jars=jars, progress=print)
            broker.start()
            stack.callback(broker.stop)
            return broker.bootstrap_servers, stack.pop_all().close

    return shared_by_the_run("kafka", start, config=request.config, folders=tmp_path_factory)


@pytest.fixture
def topic_prefix() -> str:
    """Put before the name of every topic and group of one test."""
    return f"t{uuid.uuid4().hex[:10]}-"
