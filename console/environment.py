"""Where do a command's settings come from?  Options win over the environment.

Every option that a process understands is only a name for its environment variable, so a command
line and a container's environment mean the same thing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from schemas.connections import (
    ClickHouseOptions,
    KafkaOptions,
    clickhouse_options,
    kafka_options,
)

F = TypeVar("F", bound=Callable[..., Any])

KAFKA_VARIABLES: Final = {
    "--kafka": ("KAFKA_BOOTSTRAP_SERVERS", "Brokers, as host:port[,host:port]."),
    "--topic-prefix": ("TOKENPOOLS_TOPIC_PREFIX", "Put before the name of every topic."),
    "--group-prefix": ("TOKENPOOLS_GROUP_PREFIX", "Put before the name of every consumer group."),
    "--partitions": ("TOKENPOOLS_PARTITIONS", "Partitions of every topic, fixed at creation [8]."),
}
CLICKHOUSE_VARIABLES: Final = {
    "--clickhouse": ("CLICKHOUSE_DSN", "clickhouse://[user@]host:port/database"),
}
METRICS_VARIABLES: Final = {
    "--metrics-port": ("TOKENPOOLS_METRICS_PORT", "Port of /metrics on loopback, 0: none [0]."),
}


def read_text(path: str) -> str:
    """Return a file's text; the door through which settings read secrets."""
    return Path(path).read_text(encoding="utf-8")


def options(*tables: Mapping[str, tuple[str, str]]) -> Callable[[F], F]:
    """Add an option for each variable; the command gets them as ``<option name>: str | None``."""

    def decorate(command: F) -> F:
        for table in reversed(tables):
            for flag, (variable, text) in reversed(list(table.items())):
                option = click.option(flag, metavar="TEXT", help=f"{text} Environment: {variable}.")
                command = option(command)
        return command

    return decorate


def environment(given: Mapping[str, Any], *tables: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return the environment with the given options laid over it."""
    merged = dict(os.environ)
    for table in tables:
        for flag, (variable, _) in table.items():
            value = given.get(flag.lstrip("-").replace("-", "_"))
            if value is not None:
                merged[variable] = str(value)
    return merged


def kafka_from(given: Mapping[str, Any]) -> KafkaOptions:
    """Return the Kafka options of a command with ``options(KAFKA_VARIABLES)``."""
    return kafka_options(environment(given, KAFKA_VARIABLES), read_text=read_text)


def clickhouse_from(given: Mapping[str, Any]) -> ClickHouseOptions:
    """Return the ClickHouse options of a command with ``options(CLICKHOUSE_VARIABLES)``."""
    return clickhouse_options(environment(given, CLICKHOUSE_VARIABLES), read_text=read_text)
