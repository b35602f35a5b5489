"""The servers of the integration tests, for the benches of history."""

from __future__ import annotations

from tests.integration.conftest import (  # noqa: F401 - fixtures
    kafka_bootstrap,
    kafka_jars,
    topic_prefix,
)
from tests.integration.engine_fixtures import (  # noqa: F401 - fixtures
    clickhouse_database,
    clickhouse_dsn,
    local_clickhouse_dsn,
)
