"""Run: every policy on every seed, into one result; the two doors for whoever asks.

Nothing here reads a clock: who wants the speed takes the time itself (``results.Work``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from schemas.errors import SpecError
from simulation.experiments.cases import Case, WhatIf, case_of
from simulation.experiments.figures import Figures
from simulation.experiments.literal import literal_weights
from simulation.experiments.one import RunOutcome
from simulation.experiments.paper import PAPER
from simulation.experiments.policies import Choice, chosen
from simulation.experiments.results import ExperimentResult, PolicyResult, Work
from simulation.experiments.setups import FAIR_SHARE, SETUPS
from simulation.experiments.statistics import Figure, figure_of
from simulation.experiments.tasks import Progress, Task, run_tasks

EXPERIMENTS: Final[Mapping[str, str]] = {name: setup.about for name, setup in SETUPS.items()}
"""Name -> what it is about."""
WHAT_IF_POLICIES: Final = ("token-pools", "none", "windowed")
DOORS_MAX: Final = 64


def run_experiment(
    name: str,
    *,
    seeds: Sequence[int],
    policies: Sequence[str] = (),
    admitters: int = 1,
    headroom: int | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    series_seed: int | None = None,
) -> ExperimentResult:
    """Return what the paper's experiment ``name`` gives for these policies (none: its own)."""
    if name not in SETUPS:
        raise SpecError("experiment", f"{name!r} is none of {', '.join(SETUPS)}")
    setup = SETUPS[name]
    case = case_of(setup, admitters=admitters, headroom_slots=headroom)
    return _run(
        case,
        chosen(policies or setup.policies),
        seeds=seeds,
        jobs=jobs,
        progress=progress,
        series_seed=series_seed,
    )


def simulate(
    question: WhatIf,
    *,
    policies: Sequence[str] = WHAT_IF_POLICIES,
    seeds: Sequence[int] = (1,),
    jobs: int = 1,
    progress: Progress | None = None,
    series_seed: int | None = None,
) -> ExperimentResult:
    """Return what each policy would do with the user's pool and traffic."""
    return _run(
        question.case(),
        chosen(policies),
        seeds=seeds,
        jobs=jobs,
        progress=progress,
        series_seed=series_seed,
    )


def _run(
    case: Case,
    choices: Sequence[Choice],
    *,
    seeds: Sequence[int],
    jobs: int,
    progress: Progress | None,
    series_seed: int | None,
) -> ExperimentResult:
    _check(case, seeds=seeds)
    drawn = seeds[0] if series_seed is None else series_seed
    tasks = [
        Task(case=case, choice=choice, seed=seed, with_series=seed == drawn)
        for choice in choices
        for seed in seeds
    ]
    outcomes = run_tasks(tasks, jobs=jobs, progress=progress)
    return ExperimentResult(
        experiment=case.name,
        about=case.about,
        seeds=tuple(seeds),
        admitters=case.admitters,
        headroom_slots=case.pool.headroom_slots,
        policies=tuple(
            _policy_result(choice, outcomes[number * len(seeds) : (number + 1) * len(seeds)])
            for number, choice in enumerate(choices)
        ),
        work=Work(
            requests=sum(outcome.requests for outcome in outcomes),
            steps=sum(outcome.steps for outcome in outcomes),
            left_out=sum(outcome.left_out for outcome in outcomes),
        ),
        paper=PAPER.get(case.name, {}),
        series_seed=drawn,
        marks_s=case.marks_s,
        literal=literal_weights() if case.name == FAIR_SHARE.name else (),
    )


def _check(case: Case, *, seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) < len(seeds):
        raise SpecError("seeds", "at least one, each only once")
    if not 1 <= case.admitters <= DOORS_MAX:
        raise SpecError("admitters", f"{case.admitters} must be between 1 and {DOORS_MAX}")


def _policy_result(choice: Choice, outcomes: Sequence[RunOutcome]) -> PolicyResult:
    return PolicyResult(
        policy=choice.name,
        about=choice.about,
        figures=_over_seeds([outcome.figures for outcome in outcomes]),
        entitlements={
            uid: _over_seeds([outcome.entitlements[uid] for outcome in outcomes])
            for uid in outcomes[0].entitlements
        },
        series=next((outcome.series for outcome in outcomes if outcome.series), ()),
        reasons=next((outcome.reasons for outcome in outcomes if outcome.series), {}),
    )


def _over_seeds(runs: Sequence[Figures]) -> dict[str, Figure]:
    """Return the figure of every key that any run has, over the runs that have it."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: figure_of([run[name] for run in runs if name in run]) for name in names}
