"""The options that say which traffic is sent: ``run`` and ``replay`` take the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from simulation.catalog import DEFAULT_SEED

TRACE_HELP: Final = (
    "Recorded requests, plain or gzip, told apart by the first line: our own CSV "
    "(offset_ms,tenant,model,input_tokens,output_tokens), Azure LLM inference 2023 and 2024, "
    "BurstGPT, Mooncake."
)
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
