"""One: a single run, from its scenario to its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulation.experiments.building import policy_of
from simulation.experiments.cases import Case
from simulation.experiments.figures import Figures, checked, entitlement_figures, figures_of
from simulation.experiments.keys import ENTITLEMENT_KEYS, KEYS
from simulation.experiments.policies import Choice
from simulation.experiments.results import Line
from simulation.experiments.series import reasons_of, series_of
from simulation.experiments.starving import StarvingWatch
from simulation.pools.tokenpools import TokenPools
from simulation.world.world import World


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What one run gave."""

    figures: Figures
    entitlements: Mapping[str, Figures]
    series: tuple[Line, ...]
    reasons: Mapping[str, Mapping[str, float]]
    requests: int
    steps: int
    left_out: int


def run_one(case: Case, choice: Choice, *, seed: int, with_series: bool = False) -> RunOutcome:
    """Return what one policy does with the case on one seed."""
    scenario = case.scenario(choice, seed=seed)
    policy = policy_of(choice, scenario, admitters=case.admitters)
    watch = StarvingWatch(scenario.pool, policy) if isinstance(policy, TokenPools) else None
    measures = World(scenario, policy, on_step=watch.look if watch else None).run()
    frame = case.frame(choice)
    figures = figures_of(measures, frame)
    if watch is not None and "peer_starved_s_max" in figures:
        figures["peer_starved_ticks_max"] = watch.ticks_max
    return RunOutcome(
        figures=checked(figures, KEYS),
        entitlements={
            uid: checked(figures, ENTITLEMENT_KEYS)
            for uid, figures in entitlement_figures(measures, frame).items()
        },
        series=series_of(measures) if with_series else (),
        reasons=reasons_of(measures) if with_series else {},
        requests=measures.requests,
        steps=measures.steps,
        left_out=measures.left_out,
    )
