"""The rows fit the tables, every key has its reason, and retention covers every large table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.connections import ClickHouseOptions
from streams.history.migrate import RETENTION_FILE, Retention, migrations, render, statements
from streams.history.tables import TABLES, columns_of

FOLDER = Path(__file__).parents[3] / "schemas" / "clickhouse"
PLAIN = ClickHouseOptions("localhost", 8123, "tokenpools")
CLUSTER = ClickHouseOptions("localhost", 8123, "tokenpools", cluster="main")
FOREVER = {"schema_migrations", "entitlements", "judged_through", "read_through", "drift_checks"}
"""Small tables: one row for each partition, file or applied entitlement."""


def created(options: ClickHouseOptions) -> dict[str, str]:
    """Every CREATE TABLE by its table."""
    found = {}
    for _, sql in render(options):
        for statement in statements(sql):
            match = re.search(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)
            if match:
                found[match[1]] = statement
    return found


def columns_in(statement: str) -> tuple[str, ...]:
    return tuple(re.findall(r"^    (\w+) ", statement, flags=re.MULTILINE))


@pytest.mark.parametrize("table", TABLES)
def test_a_row_has_the_columns_of_its_table_in_their_order(table: str) -> None:
    assert columns_of(table) == columns_in(created(PLAIN)[table])


def test_every_table_has_a_row_or_is_written_by_who_keeps_it() -> None:
    assert set(created(PLAIN)) - set(TABLES) == {"schema_migrations", "drift_checks"}


@pytest.mark.parametrize("table", created(PLAIN))
def test_what_is_not_small_leaves_with_time(table: str) -> None:
    retention = dict(render(PLAIN))[RETENTION_FILE]
    forgotten = re.findall(r"ALTER TABLE (\w+)", retention)

    assert (table in forgotten) != (table in FOREVER)


def test_verdicts_outlive_the_usage_that_they_leave_out() -> None:
    retention = dict(render(PLAIN, retention=Retention(raw_months=7)))[RETENTION_FILE]

    assert "stored_at) + toIntervalMonth(7);" in retention
    assert "stored_at) + toIntervalMonth(7 + 2);" in retention


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sql")), ids=lambda path: str(path.name))
def test_every_sort_key_is_explained_above_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    keys = [index for index, line in enumerate(lines) if line.startswith("ORDER BY")]
    bare = [lines[index] for index in keys if not lines[index - 1].startswith("--")]

    if "_views" in path.name:
        return
    assert bare == []


def test_a_cluster_makes_every_table_replicated_and_every_statement_spread() -> None:
    tables = created(CLUSTER)
    spread = [
        statement
        for name, sql in render(CLUSTER)
        for statement in statements(sql)
        if "ON CLUSTER 'main'" not in statement
    ]

    assert spread == []
    assert [name for name, sql in tables.items() if "ReplicatedReplacingMergeTree" not in sql] == []


def test_without_a_cluster_nothing_is_replicated_and_no_placeholder_is_left() -> None:
    text = "\n".join(sql for _, sql in render(PLAIN))

    assert "Replicated" not in text
    assert "ON CLUSTER" not in text
    assert "{{" not in text


def test_files_are_numbered_without_a_gap_and_retention_comes_last() -> None:
    names = [migration.name for migration in migrations(PLAIN, retention=Retention())]

    assert [int(name[:4]) for name in names[:-1]] == list(range(len(names) - 1))
    assert names[-1] == RETENTION_FILE


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sql")), ids=lambda path: str(path.name))
def test_every_view_is_explained_above_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    views = [index for index, line in enumerate(lines) if line.startswith("CREATE OR REPLACE VIEW")]

    assert [lines[index] for index in views if not lines[index - 1].startswith("--")] == []
