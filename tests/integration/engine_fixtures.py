"""One ClickHouse engine for the whole run, and a database of its own for each test.

Set ``TOKENPOOLS_TEST_CLICKHOUSE_DSN`` (``clickhouse://user:password@host:port/database``) to the
address of a server that already runs: every test then uses it, and the contract suite holds it to
the same behaviour as the local one.
"""

from __future__ import annotations

import http.client
import os
import secrets
import subprocess
import tempfile
import uuid
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess, NotReadyError
from deploy.local.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

EXISTING_DSN: Final = os.environ.get("TOKENPOOLS_TEST_CLICKHOUSE_DSN")
START_S_MAX: Final = 30.0
STOP_S_MAX: Final = 30.0
ANSWER_S_MAX: Final = 30.0


def started(process: ClickHouseProcess) -> subprocess.Popen[bytes]:
    """Start ``process`` and return it once it answers."""
    with process.log_path.open("ab") as log:
        running = subprocess.Popen(
            process.command(),
            env={**os.environ, **process.environment()},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        process.wait_ready(START_S_MAX, has_ended=lambda: running.poll() is not None)
    except NotReadyError:
        running.kill()
        raise
    return running


def stopped(running: subprocess.Popen[bytes]) -> int:
    """Ask ``running`` to stop and return its exit status."""
    running.terminate()
    try:
        return running.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        running.kill()
        raise


def process_in(folder: Path) -> ClickHouseProcess:
    """Return a server on a free port whose data lies in ``folder``."""
    return ClickHouseProcess(
        data_dir=folder / "data",
        port=free_ports(1)[0],
        log_path=folder / "clickhouse.log",
        password=secrets.token_urlsafe(12),
    )


def execute(dsn: str, sql: str) -> str:
    """Run one statement over plain HTTP and return its answer; fail on any error."""
    parts = urlsplit(dsn)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 8123, timeout=ANSWER_S_MAX
    )
    try:
        connection.request("POST", "/", sql.encode(), {"Authorization": basic_auth(parts)})
        response = connection.getresponse()
        answer = response.read().decode()
    finally:
        connection.close()
    assert response.status == 200, answer
    return answer


def basic_auth(parts: SplitResult) -> str:
    """Return the header that logs in as the DSN's user."""
    login = f"{unquote(parts.username or 'default')}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(login.encode()).decode()}"


@pytest.fixture(scope="session")
def local_clickhouse_dsn() -> Iterator[str]:
    """The address of the run's one local engine, whatever else exists."""
    with tempfile.TemporaryDirectory(prefix="tokenpools-clickhouse-") as folder:
        process = process_in(Path(folder))
        running = started(process)
        try:
            yield process.dsn()
        finally:
            stopped(running)


@pytest.fixture(scope="session")
def clickhouse_dsn(request: pytest.FixtureRequest) -> str:
    """The address of ClickHouse: the given server, or the run's local engine."""
    return EXISTING_DSN or str(request.getfixturevalue("local_clickhouse_dsn"))


def database_in(dsn: str) -> Iterator[str]:
    """Make a database, yield its DSN, and drop it: the body of a fixture."""
    name = f"t{uuid.uuid4().hex[:12]}"
    execute(dsn, f"CREATE DATABASE {name}")
    try:
        yield urlsplit(dsn)._replace(path=f"/{name}").geturl()
    finally:
        execute(dsn, f"DROP DATABASE {name} SYNC")


@pytest.fixture
def clickhouse_database(clickhouse_dsn: str) -> Iterator[str]:
    """The DSN of a database that belongs to one test."""
    yield from database_in(clickhouse_dsn)
