"""The command that runs one streams worker."""

from __future__ import annotations

import sys
from typing import Any

import click

from console.environment import KAFKA_VARIABLES, METRICS_VARIABLES, environment, options, read_text
from streams.settings import from_env
from streams.worker import run


@click.command()
@options(KAFKA_VARIABLES, METRICS_VARIABLES)
def streams(**given: Any) -> None:
    """Run one streams worker: usage to ledger, reports to demand, ticks to admission state."""
    environ = environment(given, KAFKA_VARIABLES, METRICS_VARIABLES)
    sys.exit(run(from_env(environ, read_text=read_text)))
