"""A migrated database for each test."""

from __future__ import annotations

import pytest

from schemas.connections import ClickHouseOptions, clickhouse_options
from streams.history.migrate import migrate


@pytest.fixture
def clickhouse(clickhouse_database: str) -> ClickHouseOptions:
    """The options of a database of its own, migrated."""
    options = clickhouse_options({"CLICKHOUSE_DSN": clickhouse_database}, read_text=str)
    migrate(options)
    return options
