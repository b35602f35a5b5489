"""No admission control: everything starts."""

from simulation.rivals.none import NoAdmission
from simulation.world.measures import Outcome
from simulation.world.world import World
from tests.unit.simulation.worlds import ONE_TENANT, arrivals, scenario


def test_everything_starts_and_waits_in_the_engine() -> None:
    measures = World(scenario(arrivals(*[0.0] * 40)), NoAdmission(ONE_TENANT)).run()

    tally = measures.tallies["tenant"]
    assert (tally.attempts, tally.admitted, measures.waiting_max) == (40, 40, 24)
    assert tally.outcomes == {Outcome.COMPLETED: 40}
