"""Migrations are applied once, in order, and never from another text than before."""

from __future__ import annotations

import pytest

from schemas.connections import ClickHouseOptions
from streams.history.client import connect
from streams.history.migrate import (
    Migration,
    MigrationError,
    Retention,
    apply,
    migrate,
    migrations,
)
from streams.history.tables import TABLES, columns_of
from streams.history.usage_blocks import USAGE_TABLE, USAGE_TYPES


def test_migrating_again_applies_nothing(clickhouse: ClickHouseOptions) -> None:
    assert migrate(clickhouse) == []


def test_another_retention_is_applied_to_the_tables_that_exist(
    clickhouse: ClickHouseOptions,
) -> None:
    applied = migrate(clickhouse, retention=Retention(raw_months=3))

    with connect(clickhouse) as client:
        created = str(client.command("SHOW CREATE TABLE usage_raw"))

    assert applied == ["retention.sql"]
    assert "toIntervalMonth(3)" in created


def test_a_file_that_changed_after_it_was_applied_stops_the_start(
    clickhouse: ClickHouseOptions,
) -> None:
    first, *_ = migrations(clickhouse, retention=Retention())
    changed = Migration(first.name, first.sql, checksum="0" * 64)

    with connect(clickhouse) as client, pytest.raises(MigrationError, match=first.name):
        apply(client, [changed])


@pytest.mark.parametrize("table", TABLES)
def test_a_row_has_the_columns_of_its_table(clickhouse: ClickHouseOptions, table: str) -> None:
    with connect(clickhouse) as client:
        described = client.query(f"DESCRIBE TABLE {table}").result_rows

    assert columns_of(table) == tuple(row[0] for row in described)


def test_usage_is_encoded_with_the_types_of_its_table(clickhouse: ClickHouseOptions) -> None:
    with connect(clickhouse) as client:
        described = client.query(f"DESCRIBE TABLE {USAGE_TABLE}").result_rows

    assert {row[0]: row[1] for row in described} == USAGE_TYPES
