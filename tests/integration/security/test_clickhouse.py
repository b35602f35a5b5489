"""ClickHouse behind TLS: user, password and authority are settings like any other.

The local server speaks plain HTTP, so a door of TLS that the test opens stands before it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import pytest

from console.environment import read_text
from schemas.connections import clickhouse_options
from schemas.errors import UnavailableError
from streams.history.client import connect
from tests.integration.secured_broker import Certificates
from tests.integration.security.processes import base_environment, tokenpools

PIECE_BYTES: Final = 65_536


@asynccontextmanager
async def tls_door(
    server: SplitResult, certificates: Certificates, folder: Path
) -> AsyncIterator[int]:
    """A port that speaks TLS and passes everything on to ``server``."""
    identity = folder / "server.pem"
    identity.write_text(certificates.broker.key + certificates.broker.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(identity)

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(server.hostname, server.port)
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    door = await asyncio.start_server(through, "127.0.0.1", 0, ssl=context)
    async with door:
        yield door.sockets[0].getsockname()[1]


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    except OSError:
        return  # the other side has gone
    finally:
        writer.close()


def environment(
    server: SplitResult, port: int, folder: Path, *, query: str, password: str | None = None
) -> dict[str, str]:
    file = folder / "clickhouse.password"
    file.write_text(unquote(server.password or "") if password is None else password)
    return {
        **base_environment(os.environ),
        "CLICKHOUSE_DSN": f"clickhouses://127.0.0.1:{port}{server.path}{query}",
        "CLICKHOUSE_USER": server.username or "default",
        "CLICKHOUSE_PASSWORD_FILE": str(file),
    }


def answer(environ: Mapping[str, str]) -> object:
    options = clickhouse_options(environ, read_text=read_text)
    client = connect(options)
    try:
        return client.query("SELECT 1").result_rows
    finally:
        client.close()


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("?ca_file={authority}", id="an authority of our own"),
        pytest.param("?verify=0", id="not verified, on the user's word"),
    ],
)
async def test_migrations_go_through_tls(
    clickhouse_database: str, certificates: Certificates, tmp_path: Path, query: str
) -> None:
    server = urlsplit(clickhouse_database)
    authority = tmp_path / "authority.pem"
    authority.write_text(certificates.authority)
    async with tls_door(server, certificates, tmp_path) as port:
        environ = environment(server, port, tmp_path, query=query.format(authority=authority))

        migrated = await asyncio.to_thread(tokenpools, "migrate", environ=environ)

    assert migrated.returncode == 0, migrated.stdout
    assert "applied" in migrated.stdout


async def test_a_server_that_cannot_prove_who_it_is_is_not_asked(
    clickhouse_database: str, certificates: Certificates, tmp_path: Path
) -> None:
    server = urlsplit(clickhouse_database)
    async with tls_door(server, certificates, tmp_path) as port:
        environ = environment(server, port, tmp_path, query="")

        with pytest.raises(UnavailableError, match="CLICKHOUSE_DSN"):
            await asyncio.to_thread(answer, environ)


async def test_a_wrong_password_is_refused_without_being_shown(
    clickhouse_database: str, certificates: Certificates, tmp_path: Path
) -> None:
    server = urlsplit(clickhouse_database)
    async with tls_door(server, certificates, tmp_path) as port:
        environ = environment(server, port, tmp_path, query="?verify=0", password="hunter2")

        refused = await asyncio.to_thread(tokenpools, "migrate", environ=environ)

    assert refused.returncode == 2
    assert "check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD" in refused.stdout
    assert "hunter2" not in refused.stdout
    assert "Traceback" not in refused.stdout
