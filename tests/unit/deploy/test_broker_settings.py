"""What the local broker and its Java are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.broker_settings import (
    BrokerConfig,
    Listener,
    class_path,
    java_environment,
    java_options,
    properties_text,
    server_properties,
)
from schemas.errors import SettingsError

CONFIG = BrokerConfig(state_dir=Path("/state"), port=9092, controller_port=9093)


def test_every_listener_is_on_loopback() -> None:
    tls = Listener(name="SECURED", protocol="SASL_SSL", port=9094)
    config = BrokerConfig(
        state_dir=Path("/state"), port=9092, controller_port=9093, extra_listeners=(tls,)
    )

    properties = server_properties(config)

    assert properties["listeners"] == (
        "PLAINTEXT://127.0.0.1:9092,SECURED://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093"
    )
    assert properties["advertised.listeners"] == (
        "PLAINTEXT://127.0.0.1:9092,SECURED://127.0.0.1:9094"
    )
    assert properties["listener.security.protocol.map"] == (
        "PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL,CONTROLLER:PLAINTEXT"
    )


def test_a_client_that_asks_for_a_missing_topic_does_not_create_it() -> None:
    assert server_properties(CONFIG)["auto.create.topics.enable"] == "false"


def test_extra_properties_win_over_ours() -> None:
    config = BrokerConfig(
        state_dir=Path("/state"),
        port=9092,
        controller_port=9093,
        extra_properties={"num.io.threads": "8"},
    )

    assert server_properties(config)["num.io.threads"] == "8"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param("/a b", "/a\\ b", id="a space"),
        pytest.param("-----BEGIN\nx==", "-----BEGIN\\nx\\=\\=", id="a key of several lines"),
        pytest.param("C:\\x", "C\\:\\\\x", id="a backslash"),
        pytest.param("/é", "/\\u00e9", id="a letter beyond ASCII"),
        pytest.param("😀", "\\ud83d\\ude00", id="a sign beyond 16 bits is a pair"),
    ],
)
def test_a_value_is_written_as_java_reads_it(value: str, written: str) -> None:
    assert properties_text({"key": value}) == f"key={written}\n"


def test_a_password_is_not_in_the_configs_text() -> None:
    config = BrokerConfig(
        state_dir=Path("/state"),
        port=9092,
        controller_port=9093,
        extra_properties={"ssl.key.password": "hunter2"},
        scram_users={"alice": "hunter2"},
    )

    assert "hunter2" not in repr(config)


def test_java_gets_neither_another_javas_options_nor_our_secrets() -> None:
    environ = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "JAVA_TOOL_OPTIONS": "-Xmx9g",
        "CLASSPATH": "/elsewhere",
        "CLICKHOUSE_DSN": "clickhouse://user:secret@host/database",
    }

    seen = java_environment(environ)

    assert seen == {"PATH": "/bin", "HOME": "/home/me", "LC_ALL": "C.UTF-8"}


def test_the_heap_is_a_setting() -> None:
    config = BrokerConfig(state_dir=Path("/state"), port=1, controller_port=2, heap_mb=300)

    assert "-Xmx300m" in java_options(config)


def test_a_directory_that_kafka_would_split_is_refused() -> None:
    with pytest.raises(SettingsError, match="comma"):
        BrokerConfig(state_dir=Path("/a,b"), port=9092, controller_port=9093)


def test_a_jar_that_java_would_split_is_refused() -> None:
    with pytest.raises(SettingsError, match="/a:b"):
        class_path([Path("/a:b/kafka.jar")])
