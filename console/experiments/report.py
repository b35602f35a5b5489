"""Report: one result to the screen, to pictures, or as JSON alone on stdout."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import click
from rich.console import Console

from console.experiments.progress import Runs
from console.experiments.table import left_out, print_result
from schemas.errors import SettingsError
from simulation.experiments.results import ExperimentResult
from simulation.experiments.tasks import Progress

DRAWING = "console.experiments.drawing"


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a result goes."""

    folder: Path | None
    """None: the default one, and nowhere with JSON."""
    ending: str
    as_json: bool


def run_and_report(
    run: Callable[[Progress], ExperimentResult], output: Output, *, about: str
) -> None:
    """Run with progress on stderr, then print and draw what came of it."""
    console, aside = Console(), Console(stderr=True)
    draw = _drawing(output, aside)
    started_s = monotonic()
    with Runs(aside, about=about) as runs:
        result = run(runs)
    wall_s = monotonic() - started_s
    if not result.work.requests:
        raise SettingsError(f"replay.mapping: {left_out(result)}")
    if output.as_json:
        click.echo(json.dumps(result.as_json(), indent=2))
    else:
        print_result(console, result)
    say = (aside if output.as_json else console).print
    if draw is not None:
        for path in draw(result, output.folder or _default_folder(result), ending=output.ending):
            say(f"plot: {path}", highlight=False, soft_wrap=True)
    say(
        f"{result.work.requests:,} requests in {result.work.steps:,} steps simulated in "
        f"{wall_s:.1f} s: {result.work.requests_per_s(wall_s):,.0f} requests/s",
        highlight=False,
        soft_wrap=True,
    )


Draw = Callable[..., list[Path]]


def _drawing(output: Output, aside: Console) -> Draw | None:
    """Return what draws; None where nothing is to be drawn.  Asked before the long run."""
    if output.as_json and output.folder is None:
        return None
    try:
        draw: Draw = importlib.import_module(DRAWING).draw_all
    except ModuleNotFoundError as error:
        missing = "plots need matplotlib: pip install 'tokenpools[plots]'"
        if output.folder is not None:
            raise SettingsError(f"--out: {missing}") from error
        aside.print(f"no plots: {missing}", highlight=False, markup=False)
        return None
    return draw


def _default_folder(result: ExperimentResult) -> Path:
    return Path(".tokenpools") / "experiments" / result.experiment
