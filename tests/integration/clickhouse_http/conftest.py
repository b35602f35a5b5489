"""The servers under contract, a database for each test, and the clients that talk to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import clickhouse_connect
import pytest

from tests.integration.clickhouse_http.http_client import Http
from tests.integration.engine_fixtures import EXISTING_DSN, database_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clickhouse_connect.driver.client import Client

SERVERS = ("local", "server") if EXISTING_DSN else ("local",)


@pytest.fixture(scope="session", params=SERVERS)
def contract_dsn(request: pytest.FixtureRequest) -> str:
    """The server under contract."""
    if request.param == "server":
        return str(EXISTING_DSN)
    return str(request.getfixturevalue("local_clickhouse_dsn"))


@pytest.fixture
def database(contract_dsn: str) -> Iterator[str]:
    """The DSN of a database that belongs to one test, on the server under contract."""
    yield from database_in(contract_dsn)


@pytest.fixture
def http(database: str) -> Http:
    return Http(database)


@pytest.fixture
def client(database: str) -> Iterator[Client]:
    """clickhouse-connect's synchronous client, as history uses it."""
    client = clickhouse_connect.get_client(dsn=database)
    try:
        yield client
    finally:
        client.close()
