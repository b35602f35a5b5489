"""The options that say which traffic is sent: ``run`` and ``replay`` take the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from simulation.catalog import DEFAULT_SEED

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--workload", default="", help="A seeded generator by name, without a trace."),
    click.option(
        "--seed", type=int, default=DEFAULT_SEED, show_default=True, help="Of the workload."
    ),
    click.option("--speed", default="1", show_default=True, help="Multiplies the load."),
    click.option(
        "--scale-capacity", is_flag=True, help="Multiply the replicas' capacity by the speed too."
    ),
    click.option(
        "--limit", "limit_s", type=click.IntRange(1), help="Stop after N s of the traffic's time."
    ),
)


def traffic_options(command: F) -> F:
    """Add them; the command gets ``workload, seed, speed, scale_capacity, limit_s``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
