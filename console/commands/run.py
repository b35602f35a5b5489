"""``run``: the whole loop on this machine, traffic through it, everything shown and summed up."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from console.commands.traffic_options import TRACE_HELP, traffic_options
from console.loop_session import run_until_signal
from console.poolsfile import read_pools, read_prices
from console.scene import SCENES, Scene, play
from console.traffic import TrafficOptions
from deploy.local.loop import ADMITTERS_MAX, WORKERS_MAX, LoopPlan
from simulation.catalog import WORKLOADS


@click.command()
@click.option(
    "--config",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Pools and mapping; default: a scene that comes with tokenpools.",
)
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Price list for the chargeback; default: the one that comes with tokenpools.",
)
@click.option(
    "--trace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=TRACE_HELP,
)
@traffic_options
@click.option("--compare", is_flag=True, help="Repeat the same traffic without admission control.")
@click.option("--admitters", type=click.IntRange(1, ADMITTERS_MAX), default=2, show_default=True)
@click.option("--workers", type=click.IntRange(1, WORKERS_MAX), default=1, show_default=True)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tokenpools/run"),
    show_default=True,
    help="Data, logs and records of runs; kept between runs.",
)
@click.option("--list-workloads", is_flag=True, help="Name the workloads and stop.")
def run(
    file: Path | None,
    prices: Path | None,
    state_dir: Path,
    admitters: int,
    workers: int,
    compare: bool,
    list_workloads: bool,
    **traffic: object,
) -> None:
    """Start the loop, replay traffic through it, show it live, sum up, stop everything.

    Exit status 1 when what was emitted, the ledger and ClickHouse do not agree.
    """
    if list_workloads:
        _list_workloads()
        return
    options = TrafficOptions(**traffic)  # type: ignore[arg-type] # click's values, by name
    default = SCENES / ("trace.yaml" if options.trace else "default.yaml")
    scene = Scene(
        plan=LoopPlan(
            state_dir=state_dir.absolute(),
            admitters=admitters,
            workers=workers,
            environment={"TOKENPOOLS_AUTOSCALER_INTERVAL_MS": "1000"},
        ),
        pools=read_pools(file or default),
        prices=read_prices(prices or SCENES / "prices.yaml"),
        traffic=options,
        compare=compare,
    )
    agrees = run_until_signal(play(scene, console=Console(highlight=False)))
    sys.exit(130 if agrees is None else 0 if agrees else 1)


def _list_workloads() -> None:
    for workload in WORKLOADS.values():
        click.echo(f"{workload.name} ({workload.duration_s} s): {workload.about}")
