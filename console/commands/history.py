"""The command that runs the ClickHouse sink."""

from __future__ import annotations

import sys
from typing import Any

import click

from console.environment import (
    CLICKHOUSE_VARIABLES,
    KAFKA_VARIABLES,
    METRICS_VARIABLES,
    environment,
    options,
    read_text,
)
from streams.history.service import run
from streams.history.settings import Settings


@click.command()
@options(KAFKA_VARIABLES, CLICKHOUSE_VARIABLES, METRICS_VARIABLES)
def history(**given: Any) -> None:
    """Write usage, verdicts, rollups, ticks and decisions to ClickHouse."""
    environ = environment(given, KAFKA_VARIABLES, CLICKHOUSE_VARIABLES, METRICS_VARIABLES)
    sys.exit(run(Settings.from_env(environ, read_text=read_text)))
