"""The servers of a campaign: one broker and one ClickHouse, which may be stopped and killed."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from deploy.local.broker import Broker
from deploy.local.broker_settings import BrokerConfig
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.jars import default_cache_dir, ensure_jars
from deploy.local.ports import free_ports

START_S_MAX: Final = 180.0
"""A broker that was killed looks through all its logs first."""
STOP_S_MAX: Final = 30.0
ANSWER_S_MAX: Final = 120.0
BROKER_PROPERTIES: Final = {
    # A compaction that is asked for comes soon.
    "log.cleaner.backoff.ms": "200",
    "log.initial.task.delay.ms": "500",
}


class Database:
    """The ClickHouse server as a child process, and plain questions to it over HTTP."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.server = ClickHouseProcess(
            data_dir=folder / "data",
            port=free_ports(1)[0],
            log_path=folder / "clickhouse.log",
            password=secrets.token_urlsafe(12),
        )
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it answers."""
        with self.server.log_path.open("ab") as log:
            running = subprocess.Popen(
                self.server.command(),
                env={**os.environ, **self.server.environment()},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running = running
        self.server.wait_ready(START_S_MAX, has_ended=lambda: running.poll() is not None)

    def stop(self) -> None:
        """Ask it to end; past a deadline, end it."""
        if self._running is None:
            return
        self._running.terminate()
        try:
            self._running.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        self._running = None

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    async def rows(self, sql: str, *, database: str = "default") -> list[list[Any]]:
        """Return the rows that a query gives."""
        answer = await asyncio.to_thread(self._ask, f"{sql} FORMAT JSONCompactEachRow", database)
        return [json.loads(line) for line in answer.splitlines()]

    async def execute(self, sql: str, *, database: str = "default") -> None:
        """Run a statement."""
        await asyncio.to_thread(self._ask, sql, database)

    def _ask(self, sql: str, database: str) -> str:
        server = self.server
        login = b64encode(f"{server.user}:{server.password}".encode()).decode()
        connection = http.client.HTTPConnection(server.host, server.port, timeout=ANSWER_S_MAX)
        try:
            connection.request(
                "POST",
                f"/?database={quote(database)}",
                sql.encode(),
                {"Authorization": f"Basic {login}"},
            )
            response = connection.getresponse()
            answer = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(f"ClickHouse answers {response.status}: {answer[:500]}")
        return answer


@dataclass(frozen=True)
class Servers:
    """Both."""

    broker: Broker
    database: Database


@asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[Servers]:
    """Start both; they are ended whatever happens."""
    jars = ensure_jars(default_cache_dir(os.environ), print)
    port, controller_port = free_ports(2)
    config = BrokerConfig(
        state_dir=folder / "kafka",
        port=port,
        controller_port=controller_port,
        extra_properties=BROKER_PROPERTIES,
    )
    started = Servers(Broker(config, jars=jars), Database(folder / "clickhouse"))
    try:
        await asyncio.gather(
            asyncio.to_thread(started.broker.start, START_S_MAX),
            asyncio.to_thread(started.database.start),
        )
        yield started
    finally:
        started.broker.kill()
        started.database.kill()
