"""``simulate``: what would these pools do with this traffic?  Answered under a virtual clock."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from console.commands.simulation_options import (
    POLICY_HELP,
    SEEDS_MAX,
    output_of,
    simulation_options,
)
from console.commands.traffic_options import TRACE_HELP, traffic_options
from console.experiments.question import AUTO, Asked, question_of
from console.experiments.report import run_and_report
from console.experiments.table import seeds_text
from console.poolsfile import read_pools
from simulation.experiments.cases import WhatIf
from simulation.experiments.results import ExperimentResult
from simulation.experiments.run import WHAT_IF_POLICIES
from simulation.experiments.run import simulate as run_policies
from simulation.experiments.tasks import Progress

REPLICAS_MAX = 10_000
WORKLOAD_SEEDS = 20
"""As many as the experiments; a trace is the same for every seed, so one run is enough."""


class Replicas(click.ParamType):
    """A number of replicas, or ``auto``."""

    name = f"N|{AUTO}"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Return the number or the word."""
        text = str(value)
        if text == AUTO:
            return AUTO
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= REPLICAS_MAX:
            self.fail(f"{text!r} is neither {AUTO!r} nor from 1 to {REPLICAS_MAX}", param, ctx)
        return int(text)


@click.command(epilog=POLICY_HELP)
@click.option(
    "--pools",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Pools file; its `replay` section maps tenants, as for run.",
)
@click.option("--pool", default="", help="Which pool of the file; needed when it has several.")
@click.option(
    "--trace", type=click.Path(exists=True, dir_okay=False, path_type=Path), help=TRACE_HELP
)
@traffic_options
@click.option(
    "--replicas",
    type=Replicas(),
    help="A number, or auto: from replicas.min on whatever the policy's autoscaler asks for "
    "(policies without one keep replicas.min).  Default: replicas.min.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, SEEDS_MAX),
    help=f"How many runs each policy gets, from --seed on.  Default: {WORKLOAD_SEEDS} of a "
    "workload, 1 of a trace.",
)
@simulation_options
def simulate(
    file: Path,
    pool: str,
    trace: Path | None,
    workload: str,
    seed: int,
    speed: str,
    scale_capacity: bool,
    limit_s: int | None,
    replicas: int | str | None,
    seeds: int | None,
    policies: tuple[str, ...],
    admitters: int,
    jobs: int,
    folder: Path | None,
    ending: str,
    as_json: bool,
) -> None:
    """Simulate pools and traffic under one or more admission policies, without any server.

    The admitters' and allocator's own functions run under a virtual clock, beside models of what
    one would have instead.
    """
    aside = Console(stderr=True)
    asked = Asked(
        pools=read_pools(file),
        pool=pool,
        trace=trace,
        workload=workload,
        replicas=replicas,
        admitters=admitters,
        speed=speed,
        limit_s=limit_s,
        scale_capacity=scale_capacity,
    )
    question = question_of(
        asked, say=lambda text: aside.print(text, highlight=False, markup=False, soft_wrap=True)
    )
    numbers = range(seed, seed + (seeds or (WORKLOAD_SEEDS if trace is None else 1)))
    run_and_report(
        lambda progress: _run(question, numbers, policies, jobs, progress),
        output_of(folder=folder, ending=ending, as_json=as_json),
        about=f"what-if, {seeds_text(numbers)}",
    )


def _run(
    question: WhatIf, seeds: range, policies: tuple[str, ...], jobs: int, progress: Progress
) -> ExperimentResult:
    return run_policies(
        question,
        policies=policies or WHAT_IF_POLICIES,
        seeds=seeds,
        jobs=jobs,
        progress=progress,
    )
