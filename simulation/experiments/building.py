"""Building: the policy that a name of ``--policy`` stands for, around the pool of a scenario."""

from __future__ import annotations

from schemas.errors import SpecError
from simulation.experiments.policies import Choice, Kind
from simulation.policy import Policy
from simulation.rivals.none import NoAdmission
from simulation.world.scenario import Scenario


def policy_of(choice: Choice, scenario: Scenario, *, admitters: int) -> Policy:
    """Return a fresh policy for one run."""
    match choice.kind:
        case Kind.NONE:
            return NoAdmission(scenario.pool)
        case _:
            raise SpecError("policy", f"{choice.name!r} cannot be simulated yet")
