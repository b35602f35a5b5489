"""The command that runs the autoscaler."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from console.environment import (
    CLICKHOUSE_VARIABLES,
    KAFKA_VARIABLES,
    METRICS_VARIABLES,
    environment,
    options,
    read_text,
)
from streams.autoscaler.service import run
from streams.autoscaler.settings import Settings

AUTOSCALER_VARIABLES: Final = {
    "--interval-ms": ("TOKENPOOLS_AUTOSCALER_INTERVAL_MS", "Time between evaluations [5000]."),
}


@click.command()
@options(KAFKA_VARIABLES, CLICKHOUSE_VARIABLES, METRICS_VARIABLES, AUTOSCALER_VARIABLES)
def autoscaler(**given: Any) -> None:
    """Turn demand in ClickHouse into `scale-decisions` (one autoscaler is active at a time)."""
    environ = environment(
        given, KAFKA_VARIABLES, CLICKHOUSE_VARIABLES, METRICS_VARIABLES, AUTOSCALER_VARIABLES
    )
    sys.exit(run(Settings.from_env(environ, read_text=read_text)))
