"""The processes as an operator runs them: killed in the middle, and told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from schemas.connections import ClickHouseOptions, KafkaOptions
from tests.integration.history.test_service import (  # noqa: F401 - `kafka` is a fixture
    EVENTS,
    judge,
    kafka,
    send_usage,
    total,
    until,
)

STOP_S_MAX: Final = 10.0
ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True)
class Environment:
    """What a process of ours is told: Kafka, ClickHouse and where it writes its log."""

    kafka: KafkaOptions
    clickhouse_dsn: str
    log: Path

    def variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "TOKENPOOLS_TOPIC_PREFIX": self.kafka.topic_prefix,
            "TOKENPOOLS_GROUP_PREFIX": self.kafka.group_prefix,
            "TOKENPOOLS_PARTITIONS": str(self.kafka.partitions),
            "TOKENPOOLS_SESSION_TIMEOUT_MS": "6000",
            "TOKENPOOLS_HISTORY_BATCH_ROWS_MAX": "100",
            "TOKENPOOLS_HISTORY_FLUSH_MS": "50",
            "CLICKHOUSE_DSN": self.clickhouse_dsn,
        }


@pytest.fixture
def environment(
    kafka: KafkaOptions,  # noqa: F811 - the fixture
    migrated_database: str,
    tmp_path: Path,
) -> Environment:
    return Environment(kafka, migrated_database, tmp_path / "process.log")


@contextmanager
def process(command: str, environment: Environment) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of ours; it is killed at the end if it still runs."""
    with environment.log.open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "console", command],
            env=environment.variables(),
            cwd=ROOT,
            stderr=log,
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.mark.slow
async def test_kill_9_in_the_middle_changes_no_sum(
    environment: Environment, clickhouse: ClickHouseOptions
) -> None:
    observe = total(clickhouse)
    for round_number in range(3):
        first = round_number * EVENTS
        last = await send_usage(environment.kafka, range(first, first + EVENTS))
        await judge(environment.kafka, last)
        with process("history", environment) as running:
            await until(lambda first=first: observe()[1] > first, True)  # type: ignore[misc]  # mypy cannot type the default
            running.send_signal(signal.SIGKILL)

    with process("history", environment):
        await until(observe, (11 * 3 * EVENTS, 3 * EVENTS))


@pytest.mark.parametrize("command", ["history", "autoscaler"])
async def test_sigterm_ends_a_process_in_time_and_without_an_error(
    environment: Environment, clickhouse: ClickHouseOptions, command: str
) -> None:
    group = environment.kafka.group(f"tokenpools-{command}")
    with process(command, environment) as running:
        await until(lambda: group in members(environment), True)
        running.terminate()
        since_s = time.monotonic()
        status = await asyncio.to_thread(running.wait, STOP_S_MAX)

    assert status == 0, environment.log.read_text()
    assert time.monotonic() - since_s < STOP_S_MAX


def members(environment: Environment) -> list[str]:
    """The consumer groups that the broker knows."""

    async def ask() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=environment.kafka.bootstrap)
        await admin.start()
        try:
            return [str(group[0]) for group in await admin.list_consumer_groups()]
        finally:
            await admin.close()

    return asyncio.run(ask())


async def test_without_clickhouse_history_names_the_setting_and_still_stops(
    environment: Environment,
) -> None:
    nowhere = Environment(environment.kafka, "clickhouse://127.0.0.1:1/nothing", environment.log)
    with process("history", nowhere) as running:
        await until(lambda: "CLICKHOUSE_DSN" in environment.log.read_text(), True)
        running.terminate()

        assert await asyncio.to_thread(running.wait, STOP_S_MAX) == 0
