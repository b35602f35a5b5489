"""Building: the policy that a name of ``--policy`` stands for, around the pool of a scenario."""

from __future__ import annotations

from simulation.experiments.policies import Choice, Kind
from simulation.policy import Policy
from simulation.pools.tokenpools import TokenPools
from simulation.rivals.central import Central
from simulation.rivals.none import NoAdmission
from simulation.rivals.paper_rule import PaperRule
from simulation.rivals.windowed import WindowedReserve
from simulation.world.scenario import Scenario


def policy_of(choice: Choice, scenario: Scenario, *, admitters: int) -> Policy:
    """Return a fresh policy for one run; only token pools and windows have several doors."""
    match choice.kind:
        case Kind.TOKEN_POOLS:
            return TokenPools(scenario.pool, seed=str(scenario.seed), doors=admitters)
        case Kind.NONE:
            return NoAdmission(scenario.pool)
        case Kind.WINDOWED:
            return WindowedReserve(scenario.pool, doors=admitters)
        case Kind.PAPER_RULE:
            return PaperRule(scenario.pool)
        case Kind.CENTRAL:
            return Central(scenario.pool)
