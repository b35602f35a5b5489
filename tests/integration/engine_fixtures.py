"""One ClickHouse engine for the whole run, and a database of its own for each test.

Migrating takes longer than most tests: a migrated database that a test leaves with the schema that
it found is emptied and given to the next one.

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
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess, NotReadyError
from deploy.local.ports import free_ports
from schemas.connections import clickhouse_options
from streams.history.migrate import Retention, migrate
from tests.integration.shared import Stop, shared_by_the_run

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
def local_clickhouse_dsn(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The address of the run's one local engine, which all workers share, whatever else exists."""

    def start() -> tuple[str, Stop]:
        with ExitStack() as stack:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="tokenpools-clickhouse-")
            )
            process = process_in(Path(folder))
            stack.callback(stopped, started(process))
            return process.dsn(), stack.pop_all().close

    return shared_by_the_run("clickhouse", start, config=request.config, folders=tmp_path_factory)


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


Spares = dict[Retention, list[str]]


@pytest.fixture(scope="session")
def spare_databases() -> Spares:
    """The DSNs of migrated databases that hold nothing, by how long they keep what."""
    return {}


@pytest.fixture
def migrated_database(clickhouse_dsn: str, spare_databases: Spares) -> Iterator[str]:
    """The DSN of a migrated database that belongs to one test and holds nothing."""
    yield from lent(clickhouse_dsn, spare_databases, Retention())


def lent(dsn: str, spares: Spares, retention: Retention) -> Iterator[str]:
    """Yield the DSN of a migrated database and empty it: the body of a fixture."""
    fitting = spares.setdefault(retention, [])
    database = fitting.pop() if fitting else _migrated_in(dsn, retention)
    schema = _schema_of(database)
    yield database
    if _schema_of(database) == schema:
        _empty(database)
        fitting.append(database)
    else:
        execute(database, f"DROP DATABASE {_name_of(database)} SYNC")


def _migrated_in(dsn: str, retention: Retention) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    migrated = urlsplit(dsn)._replace(path=f"/{name}").geturl()
    options = clickhouse_options({"CLICKHOUSE_DSN": migrated}, read_text=str)
    migrate(options, retention=retention)
    return migrated


def _schema_of(dsn: str) -> str:
    """Return what every table is made of, and which migrations are recorded."""
    name = _name_of(dsn)
    return execute(
        dsn,
        f"SELECT name, create_table_query FROM system.tables WHERE database = '{name}' "
        f"UNION ALL SELECT name, checksum FROM {name}.schema_migrations FINAL ORDER BY 1, 2",
    )


def _empty(dsn: str) -> None:
    name = _name_of(dsn)
    filled = execute(
        dsn,
        f"SELECT name FROM system.tables WHERE database = '{name}' AND total_rows > 0 "
        "AND name != 'schema_migrations'",
    )
    for table in filled.split():
        execute(dsn, f"TRUNCATE TABLE {name}.{table} SYNC")


def _name_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")
