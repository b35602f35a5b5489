"""The servers of the integration tests, for the benches of history."""

from __future__ import annotations

from tests.integration.conftest import (  # noqa: F401 - fixtures
    clickhouse_database,
    clickhouse_dsn,
    kafka_bootstrap,
    kafka_jars,
    local_clickhouse_dsn,
    topic_prefix,
)
