"""Do connection settings name what is wrong, and keep their secrets?"""

from __future__ import annotations

import pytest

from schemas.connections import clickhouse_options, kafka_options
from schemas.errors import SettingsError

BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
SASL = BROKER | {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "meter",
    "KAFKA_SASL_PASSWORD": "hunter2",
}


def no_files(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


def test_names_on_the_broker_get_their_prefix() -> None:
    prefixed = BROKER | {"TOKENPOOLS_TOPIC_PREFIX": "pool.", "TOKENPOOLS_GROUP_PREFIX": "team-"}

    options = kafka_options(prefixed, read_text=no_files)

    assert options.topic("usage") == "pool.usage"
    assert options.group("history") == "team-history"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        pytest.param({}, "KAFKA_BOOTSTRAP_SERVERS", id="no broker"),
        pytest.param(
            BROKER | {"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL", id="no protocol"
        ),
        pytest.param(
            BROKER | {"KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SECURITY_PROTOCOL", id="SASL unused"
        ),
        pytest.param(
            BROKER | {"KAFKA_SSL_CERT_FILE": "c.pem"}, "KAFKA_SSL_KEY_FILE", id="a cert alone"
        ),
        pytest.param(
            BROKER | {"TOKENPOOLS_PARTITIONS": "0"}, "TOKENPOOLS_PARTITIONS", id="no partitions"
        ),
        pytest.param(
            BROKER | {"TOKENPOOLS_MIN_INSYNC": "2"},
            "TOKENPOOLS_REPLICATION_FACTOR",
            id="more in sync than replicas",
        ),
        pytest.param(
            SASL | {"KAFKA_SASL_PASSWORD_FILE": "f"}, "KAFKA_SASL_PASSWORD_FILE", id="two passwords"
        ),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        kafka_options(environ, read_text=no_files)


def test_a_password_never_shows() -> None:
    options = kafka_options(SASL, read_text=no_files)

    assert options.sasl_password == "hunter2"
    assert "hunter2" not in repr(options)


def test_a_password_may_stand_in_a_file() -> None:
    environ = {**SASL, "KAFKA_SASL_PASSWORD": "", "KAFKA_SASL_PASSWORD_FILE": "/run/secret"}

    options = kafka_options(environ, read_text=lambda path: f"from {path}\n")

    assert options.sasl_password == "from /run/secret"


def test_a_missing_password_file_is_named() -> None:
    environ = {**SASL, "KAFKA_SASL_PASSWORD": "", "KAFKA_SASL_PASSWORD_FILE": "/none"}

    with pytest.raises(SettingsError, match="KAFKA_SASL_PASSWORD_FILE='/none'"):
        kafka_options(environ, read_text=no_files)


def test_a_clickhouse_address_is_taken_apart() -> None:
    environ = {"CLICKHOUSE_DSN": "clickhouses://meter:p%40ss@db.example/usage?verify=0"}

    options = clickhouse_options(environ, read_text=no_files)

    assert (options.host, options.port, options.database) == ("db.example", 8443, "usage")
    assert (options.username, options.password, options.verify) == ("meter", "p@ss", False)
    assert "p@ss" not in repr(options)
    assert options.dsn == "clickhouses://db.example:8443/usage"


@pytest.mark.parametrize("dsn", ["", "http://db:8123/x", "clickhouse:///x", "clickhouse://db/a;b"])
def test_a_bad_clickhouse_address_names_the_variable(dsn: str) -> None:
    with pytest.raises(SettingsError, match="CLICKHOUSE_DSN"):
        clickhouse_options({"CLICKHOUSE_DSN": dsn}, read_text=no_files)
