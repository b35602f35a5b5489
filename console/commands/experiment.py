"""``experiment``: the paper's two experiments, ours beside its figures, over many seeds."""

from __future__ import annotations

from pathlib import Path

import click

from console.commands.simulation_options import (
    POLICY_HELP,
    SEEDS_MAX,
    output_of,
    simulation_options,
)
from console.experiments.report import run_and_report
from console.experiments.table import seeds_text
from simulation.experiments.results import ExperimentResult
from simulation.experiments.run import EXPERIMENTS, run_experiment
from simulation.experiments.tasks import Progress

EXPERIMENT_HELP = "\b\nExperiments (arXiv 2603.00356):\n" + "\n".join(
    f"  {name}: {about}" for name, about in EXPERIMENTS.items()
)


@click.command(epilog=f"{EXPERIMENT_HELP}\n\n{POLICY_HELP}")
@click.argument("name", metavar="EXPERIMENT", type=click.Choice(list(EXPERIMENTS)))
@click.option(
    "--seeds",
    type=click.IntRange(1, SEEDS_MAX),
    default=20,
    show_default=True,
    help="How many runs each policy gets; from 6 on the intervals reach 95 %.",
)
@click.option("--first-seed", type=int, default=1, show_default=True, help="The others follow it.")
@click.option(
    "--headroom",
    type=click.IntRange(0),
    help="Slots kept free of spot, in every policy that knows it; default: the experiment's.",
)
@simulation_options
def experiment(
    name: str,
    seeds: int,
    first_seed: int,
    headroom: int | None,
    policies: tuple[str, ...],
    admitters: int,
    jobs: int,
    folder: Path | None,
    ending: str,
    as_json: bool,
) -> None:
    """Repeat an experiment of the paper and print its figures beside ours.

    Medians over the seeds with confidence intervals; plots are of the first seed.
    """

    def run(progress: Progress) -> ExperimentResult:
        return run_experiment(
            name,
            seeds=range(first_seed, first_seed + seeds),
            policies=policies,
            admitters=admitters,
            headroom=headroom,
            jobs=jobs,
            progress=progress,
        )

    run_and_report(
        run,
        output_of(folder=folder, ending=ending, as_json=as_json),
        about=f"{name}, {seeds_text(range(first_seed, first_seed + seeds))}",
    )
