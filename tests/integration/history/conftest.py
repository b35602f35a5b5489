"""A migrated database for each test."""

from __future__ import annotations

import pytest

from schemas.connections import ClickHouseOptions, clickhouse_options


@pytest.fixture
def clickhouse(migrated_database: str) -> ClickHouseOptions:
    """The options of a database of its own, migrated."""
    return clickhouse_options({"CLICKHOUSE_DSN": migrated_database}, read_text=str)
