"""Migrations: the numbered files of ``schemas/clickhouse``, applied in order, forward only.

Each file is recorded with the checksum of its text; a recorded file that has changed since stops
the start.  Statements are idempotent (``IF NOT EXISTS``, ``OR REPLACE``), so two processes may
migrate at once and a half-applied file is applied again.  Retention has no number: it is applied
whenever its text, settings included, differs from what was applied last.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from schemas.connections import ClickHouseOptions
from schemas.errors import SettingsError, TokenpoolsError
from streams.history.client import connect, reaching

RETENTION_FILE: Final = "retention.sql"
_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)(?:\((\w+)\))?\}\}")


class MigrationError(TokenpoolsError):
    """The database was migrated by another text of the same file."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long ClickHouse keeps what."""

    raw_months: int = 13
    """Usage, verdicts, ticks, decisions."""
    rollup_months: int = 60
    seconds_days: int = 35
    """Rollups of windows below a minute."""


class Migration(NamedTuple):
    """One file, ready to execute."""

    name: str
    sql: str
    checksum: str
    """Of the file's text; of the rendered text for the retention."""


def render(
    options: ClickHouseOptions, *, retention: Retention | None = None
) -> list[tuple[str, str]]:
    """Return (name, SQL) of every file in the order of execution; nothing is executed."""
    plan = migrations(options, retention=retention or Retention())
    return [(migration.name, migration.sql) for migration in plan]


def migrations(options: ClickHouseOptions, *, retention: Retention) -> list[Migration]:
    """Return the numbered files in order, then the retention."""
    folder = files("schemas") / "clickhouse"
    names = sorted(path.name for path in folder.iterdir() if re.match(r"\d{4}_\w+\.sql", path.name))
    plan = []
    for name in [*names, RETENTION_FILE]:
        template = (folder / name).read_text(encoding="utf-8")
        sql = _fill(template, cluster=options.cluster, retention=retention)
        checked = sql if name == RETENTION_FILE else template
        plan.append(Migration(name, sql, hashlib.sha256(checked.encode()).hexdigest()))
    return plan


def migrate(options: ClickHouseOptions, *, retention: Retention | None = None) -> list[str]:
    """Create the database, apply what is missing and return the names of what was applied."""
    with reaching(options):
        _create_database(options)
        client = connect(options)
        try:
            return apply(client, migrations(options, retention=retention or Retention()))
        finally:
            client.close()


def apply(client: Client, plan: list[Migration]) -> list[str]:
    """Apply the migrations that are not recorded, in order; refuse a changed checksum."""
    applied = _recorded(client)
    done = []
    for migration in plan:
        known = applied.get(migration.name)
        if known == migration.checksum:
            continue
        if known is not None and migration.name != RETENTION_FILE:
            raise MigrationError(
                f"{migration.name} was applied to this database with another text "
                f"(sha256 {known[:12]}, now {migration.checksum[:12]}); migrations only go "
                "forward: restore the file and put the change into a new one"
            )
        _execute(client, migration)
        done.append(migration.name)
    return done


def statements(sql: str) -> list[str]:
    """Return the statements of a file: separated by a ``;`` at the end of a line."""
    parts = re.split(r";[ \t]*(?:\n|\Z)", sql)
    return [part.strip() for part in parts if _has_code(part)]


def _has_code(part: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("--") for line in part.splitlines())


def _execute(client: Client, migration: Migration) -> None:
    for statement in statements(migration.sql):
        client.command(statement)
    client.insert(
        "schema_migrations",
        [[migration.name, migration.checksum]],
        column_names=["name", "checksum"],
    )


def _recorded(client: Client) -> dict[str, str]:
    if not client.command("EXISTS TABLE schema_migrations"):
        return {}
    result = client.query("SELECT name, checksum FROM schema_migrations FINAL")
    return {str(name): str(checksum) for name, checksum in result.result_rows}


def _create_database(options: ClickHouseOptions) -> None:
    client = connect(options, database="")
    try:
        client.command(f"CREATE DATABASE IF NOT EXISTS `{options.database}`{_on(options.cluster)}")
    finally:
        client.close()


def _on(cluster: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", cluster):
        raise SettingsError(f"TOKENPOOLS_CLICKHOUSE_CLUSTER={cluster!r} must be a plain name")
    return f" ON CLUSTER '{cluster}'" if cluster else ""


def _fill(template: str, *, cluster: str, retention: Retention) -> str:
    """Return the text with its placeholders filled; an unknown one is our own mistake."""
    replicated = "Replicated" if cluster else ""
    values = {
        "on_cluster": _on(cluster).strip(),
        "raw_months": str(retention.raw_months),
        "rollup_months": str(retention.rollup_months),
        "seconds_days": str(retention.seconds_days),
    }

    def fill(match: re.Match[str]) -> str:
        name, argument = match.group(1), match.group(2)
        if name == "replacing":
            return f"{replicated}ReplacingMergeTree" + (f"({argument})" if argument else "")
        return values[name]

    filled = _PLACEHOLDER.sub(fill, template)
    return re.sub(r"[ \t]+$", "", filled, flags=re.MULTILINE)
