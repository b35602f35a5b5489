"""The options of everything that simulates: seeds, policies, admitters, processes, output."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from console.experiments.report import Output
from simulation.experiments.policies import POLICIES

F = TypeVar("F", bound=Callable[..., Any])

SEEDS_MAX: Final = 10_000
ADMITTERS_MAX: Final = 64
JOBS_MAX: Final = 64
FORMATS: Final = ("png", "svg")

POLICY_HELP: Final = "\b\nPolicies:\n" + "\n".join(
    f"  {name}: {choice.about}" for name, choice in POLICIES.items()
)


def policies_of(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the names, given one by one or with commas; each must exist and stand once."""
    names = [name.strip() for value in values for name in value.split(",")]
    for name in names:
        if name not in POLICIES:
            raise click.BadParameter(
                f"{name!r} is none of {', '.join(POLICIES)}", ctx=context, param=option
            )
    return tuple(dict.fromkeys(names))


_OPTIONS = (
    click.option(
        "--policy",
        "policies",
        multiple=True,
        callback=policies_of,
        help="What to compare, repeatable or with commas; see below.",
    ),
    click.option(
        "--admitters",
        type=click.IntRange(1, ADMITTERS_MAX),
        default=1,
        show_default=True,
        help="Admitters that share the pool.",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1, JOBS_MAX),
        default=min(os.cpu_count() or 1, JOBS_MAX),
        show_default="number of processors",
        help="Processes; the result does not depend on it.",
    ),
    click.option(
        "--out",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the plots; default: .tokenpools/experiments/NAME, and none with --json.",
    ),
    click.option(
        "--format",
        "ending",
        type=click.Choice(FORMATS),
        default="png",
        show_default=True,
        help="Of the plots.",
    ),
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print only JSON on stdout; docs/simulation.md explains every key.",
    ),
)


def simulation_options(command: F) -> F:
    """Add them; the command gets ``policies, admitters, jobs, folder, ending, as_json``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def output_of(*, folder: Path | None, ending: str, as_json: bool) -> Output:
    """Return where the result goes."""
    return Output(folder=folder, ending=ending, as_json=as_json)
