"""How is the embedded engine asked: one handle per statement, each with its own scope?

The only module that imports chdb.  All calls block and release the interpreter's lock, so they run
in the server's bounded thread pool.  A handle costs 0.1 ms; its settings, parameters and current
database are its own.  The engine runs with the files under ``config/`` in its data directory: small
caches and pools, memory bounds, and no right to read files or URLs for anybody.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Final

import chdb

# Two distributions bring chdb/__init__.py, and the one installed last wins; both have this module.
from chdb.state.sqlitelike import Connection, connect

from deploy.local.clickhouse import configuration, errors

# What clickhouse-local changes and a server does not.
_SERVER_LIKE: Final = {"implicit_select": "0", "allow_introspection_functions": "0"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
_FAILURES: Final = (RuntimeError, chdb.ChdbError)
_SETTINGS: Final = re.compile(r"\bSETTINGS\s+\w+\s*=", re.IGNORECASE)
_NO_DATA: Final = b"\xff" * 64


@dataclass(frozen=True, slots=True)
class Scope:
    """What a statement runs under; values are the text of the request."""

    database: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """What X-ClickHouse-Summary says; rows and bytes as the engine counted them."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer in memory: for statements whose answers are short."""

    body: bytes
    summary: Summary


class Insertion:
    """One INSERT that takes its data piece by piece; ``finish`` is its acknowledgement.

    The engine reads the data from a pipe, as a file.  Its own streaming insert is of no use: it
    acknowledges rows that the table refuses when they are written (a constraint, too many
    partitions, no memory), seen with chdb 4.4.
    """

    def __init__(self, connection: Connection, statement: str, data_format: str) -> None:
        read_fd, write_fd = os.pipe()
        self._pipe = open(write_fd, "wb", buffering=0)  # noqa: SIM115 - closed at the end
        self._done = Future[Summary]()
        sql = _from_file(statement, f"/dev/fd/{read_fd}", data_format)
        self._thread = Thread(target=self._run, args=(connection, sql, read_fd), name="insert")
        self._thread.start()

    def append(self, data: bytes) -> None:
        remaining = memoryview(data)
        try:
            while remaining:
                remaining = remaining[self._pipe.write(remaining) :]
        except BrokenPipeError:  # the statement has failed, or wants no more
            self._done.result()

    def finish(self) -> Summary:
        self._pipe.close()
        self._thread.join()
        return self._done.result()

    def cancel(self) -> None:
        """End without the rows: what no format takes makes the statement fail."""
        with suppress(BrokenPipeError, ValueError):
            self._pipe.write(_NO_DATA)
        self._pipe.close()
        self._thread.join()

    def _run(self, connection: Connection, sql: str, read_fd: int) -> None:
        try:
            result = connection.query(sql, "Null")
        except _FAILURES as failure:
            self._done.set_exception(errors.from_engine(str(failure)))
        else:
            self._done.set_result(_inserted(result))
        finally:
            os.close(read_fd)


def _from_file(statement: str, path: str, data_format: str) -> str:
    """Return the INSERT reading ``path``, which stands before its settings."""
    settings = list(_SETTINGS.finditer(statement))
    at = settings[-1].start() if settings else len(statement)
    source = f" FROM INFILE {quoted(path)} COMPRESSION 'none' "
    return f"{statement[:at]}{source}{statement[at:]} FORMAT {data_format}"


def _inserted(result: Any) -> Summary:
    return Summary(
        read_rows=result.rows_written(),
        read_bytes=result.bytes_written(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        elapsed_ns=int(result.elapsed() * 1_000_000_000),
    )


class Handle:
    """One connection to the engine.  It runs one statement at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def apply(self, scope: Scope) -> None:
        """Make ``scope`` this handle's: current database, settings and typed parameters."""
        self.run(_prelude(scope), "Null")

    def run(self, sql: str, answer_format: str) -> Answer:
        """Run ``sql`` to its end and return all of its answer."""
        try:
            result = self._connection.query(sql, answer_format)
        except _FAILURES as failure:
            raise errors.from_engine(str(failure)) from failure
        return Answer(bytes(result.bytes() or b""), _summary(result))

    def pour(self, sql: str, *, answer_format: str, tail: str, into_fd: int) -> Summary:
        """Run the SELECT ``sql`` and write its answer into ``into_fd`` as it comes.

        The engine's own INTO OUTFILE writes every format as one document and waits for the
        reader, which its block-wise interface does not.
        """
        target = f"INTO OUTFILE '/dev/fd/{into_fd}' TRUNCATE FORMAT {answer_format} {tail}"
        return self.run(f"{sql}\n{target}", answer_format).summary

    def insertion(self, statement: str, data_format: str) -> Insertion:
        """Begin ``statement``, an INSERT without FORMAT and data."""
        return Insertion(self._connection, statement, data_format)

    def restoring(self, scope: Scope) -> str:
        """Return the statements that undo ``apply(scope)``, for a handle that is kept."""
        names = ", ".join(quoted(name) for name in _settings_of(scope))
        before = self.run(
            f"SELECT name, value, changed FROM system.settings WHERE name IN ({names}) "
            "UNION ALL SELECT '', currentDatabase(), true",
            "JSONCompactEachRow",
        )
        return ";\n".join(_undo(*json.loads(line)) for line in before.body.splitlines())

    def close(self) -> None:
        self._connection.close()


class Engine:
    """The engine of one data directory; it stops when this is closed."""

    def __init__(self, data_dir: Path, limits: configuration.Limits) -> None:
        self._path = data_dir / "engine"
        config = configuration.write(data_dir / "config", limits)
        self._keeper = Handle(connect(f"{self._path}?config-file={config}"))
        self._make_default_database_plain()
        about = self._keeper.run("SELECT version(), timezone(), hostName()", "TabSeparated")
        self.version, self.timezone, self.host = about.body.decode().rstrip("\n").split("\t")

    def handle(self) -> Handle:
        return Handle(connect(str(self._path)))

    def kill(self, marker: str = "") -> None:
        """Stop the running queries whose text holds ``marker``: all of them by default."""
        killer = self.handle()
        try:
            killer.run(
                f"KILL QUERY WHERE position(query, {quoted(marker)}) > 0 "
                "AND NOT startsWith(query, 'KILL') ASYNC FORMAT Null",
                "Null",
            )
        finally:
            killer.close()

    def close(self) -> None:
        self._keeper.close()

    def _make_default_database_plain(self) -> None:
        """Take away the file system that clickhouse-local lays over the database ``default``.

        With it an unknown table would be looked for among files; a server says UNKNOWN_TABLE.
        The tables below stay: only the layer is detached.
        """
        overlaid = (
            "SELECT count() FROM system.databases WHERE name = 'default' AND engine = 'Overlay'"
        )
        if self._keeper.run(overlaid, "TabSeparated").body != b"1\n":
            return
        self._keeper.run("DETACH DATABASE default", "Null")
        metadata = self._path / "metadata"
        if os.path.lexists(metadata / "default"):
            self._keeper.run("ATTACH DATABASE default", "Null")
            return
        # It never had a table: the engine forgets an empty database's identity between starts,
        # and would refuse to attach by the one that it wrote down.
        (metadata / "default.sql").unlink(missing_ok=True)
        self._keeper.run("CREATE DATABASE default ENGINE = Atomic", "Null")


def quoted(text: str) -> str:
    """Return ``text`` as a string literal of ClickHouse's SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    return f"'{escaped}'"


def _undo(name: str, value: str, changed: bool) -> str:
    if not name:
        return f"USE `{_back_quoted(value)}`"
    return f"SET {name} = {quoted(value) if changed else 'DEFAULT'}"


def _prelude(scope: Scope) -> str:
    assignments = [f"{name} = {quoted(value)}" for name, value in _settings_of(scope).items()]
    assignments += [
        f"param_{_checked(name)} = {quoted(value)}" for name, value in scope.parameters.items()
    ]
    use = f"USE `{_back_quoted(scope.database)}`;\n" if scope.database else ""
    return f"{use}SET {', '.join(assignments)}"


def _settings_of(scope: Scope) -> dict[str, str]:
    return {**_SERVER_LIKE, **{_checked(name): value for name, value in scope.settings.items()}}


def _back_quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("`", "\\`")


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise errors.refusal(errors.BAD_REQUEST_PARAMETER, f"'{name}' is not a name.")
    return name


def _summary(result: Any) -> Summary:
    return Summary(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        result_bytes=result.bytes_read(),
        elapsed_ns=int(result.elapsed() * 1_000_000_000),
    )
