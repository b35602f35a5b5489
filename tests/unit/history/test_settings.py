"""Settings and addresses are read once, and what is wrong is named."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError

from schemas.connections import ClickHouseOptions
from schemas.errors import SettingsError, UnavailableError
from streams.history.client import reaching
from streams.history.migrate import render, statements
from streams.history.settings import Settings

ENVIRON = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "CLICKHOUSE_DSN": "clickhouse://ch/db"}


def test_what_is_not_set_has_its_default() -> None:
    settings = Settings.from_env(ENVIRON, read_text=str)

    assert (settings.retention.raw_months, settings.retention.rollup_months) == (13, 60)
    assert (settings.metrics_port, settings.metrics_host) == (0, "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TOKENPOOLS_HISTORY_BATCH_ROWS_MAX", "0"),
        ("TOKENPOOLS_HISTORY_FLUSH_MS", "soon"),
        ("TOKENPOOLS_RETENTION_RAW_MONTHS", "-1"),
        ("CLICKHOUSE_DSN", "postgres://x"),
        ("KAFKA_BOOTSTRAP_SERVERS", ""),
    ],
)
def test_a_wrong_setting_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env(ENVIRON | {name: text}, read_text=str)


def test_a_cluster_that_is_no_plain_name_is_refused() -> None:
    options = ClickHouseOptions("ch", 8123, "db", cluster="a' b")

    with pytest.raises(SettingsError, match="TOKENPOOLS_CLICKHOUSE_CLUSTER"):
        render(options)


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    text = "-- one; with a comment\nSELECT ';'\n;\n\nSELECT 2;  \n-- nothing more\n"

    assert statements(text) == ["-- one; with a comment\nSELECT ';'", "SELECT 2"]


def database_error(kind: type[DatabaseError], code: int | None) -> DatabaseError:
    error = kind("no")
    error.code = code
    return error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        pytest.param(ConnectionRefusedError(), True, id="nobody listens"),
        pytest.param(database_error(OperationalError, None), True, id="nobody answers"),
        pytest.param(database_error(DatabaseError, None), True, id="a proxy answers"),
        pytest.param(database_error(DatabaseError, 252), True, id="too many parts"),
        pytest.param(database_error(DatabaseError, 60), False, id="no such table"),
        pytest.param(database_error(DataError, None), False, id="a value that does not fit"),
    ],
)
def test_only_what_may_pass_counts_as_absence(error: Exception, passes: bool) -> None:
    options = ClickHouseOptions("ch", 8123, "db")

    with pytest.raises(UnavailableError if passes else type(error)), reaching(options):
        raise error
