"""Tasks: runs in as many processes as asked for, in the order in which they were given.

A *run* is one policy on one seed; it depends on nothing else, so what comes out is the same
whatever the number of processes.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from schemas.errors import SpecError
from simulation.experiments.cases import Case
from simulation.experiments.one import RunOutcome, run_one
from simulation.experiments.policies import Choice

Progress = Callable[[int, int], None]
"""Told how many runs are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run."""

    case: Case
    choice: Choice
    seed: int
    with_series: bool = False


def run_tasks(
    tasks: Sequence[Task], *, jobs: int = 1, progress: Progress | None = None
) -> list[RunOutcome]:
    """Return what each task gives; ``progress`` is called in this process after each."""
    if jobs < 1:
        raise SpecError("jobs", f"{jobs} must be at least 1")
    outcomes: list[RunOutcome] = []
    for outcome in _outcomes(tasks, jobs=jobs):
        outcomes.append(outcome)
        if progress is not None:
            progress(len(outcomes), len(tasks))
    return outcomes


def _outcomes(tasks: Sequence[Task], *, jobs: int) -> Iterator[RunOutcome]:
    if jobs == 1 or len(tasks) < 2:
        yield from map(_run, tasks)
        return
    # Processes of their own start: whoever calls may have threads, which no fork would survive.
    context = multiprocessing.get_context("spawn")
    workers = min(jobs, len(tasks))
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_end_with_parent
    ) as processes:
        yield from processes.map(_run, tasks)


def _end_with_parent() -> None:
    """Let this process end when the one that started it is gone, however that ended.

    Without it, workers of a command that was killed would wait for their next task for ever.
    """
    threading.Thread(target=_watch_parent, name="parent", daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(task: Task) -> RunOutcome:
    return run_one(task.case, task.choice, seed=task.seed, with_series=task.with_series)
