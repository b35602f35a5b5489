"""Replicas between a scale decision and the moment they serve."""

import pytest

from simulation.fleet import Fleet, matured, obey


@pytest.mark.parametrize(
    ("fleet", "desired", "expected"),
    [
        pytest.param(Fleet(ready=1), 1, Fleet(ready=1), id="nothing to do"),
        pytest.param(Fleet(ready=1), 3, Fleet(ready=1, starting_us=(50, 50)), id="two start"),
        pytest.param(
            Fleet(ready=1, starting_us=(20,)),
            3,
            Fleet(ready=1, starting_us=(20, 50)),
            id="one more starts",
        ),
        pytest.param(
            Fleet(ready=2, starting_us=(20, 30)),
            3,
            Fleet(ready=2, starting_us=(20,)),
            id="the latest start is called off",
        ),
        pytest.param(
            Fleet(ready=3, starting_us=(20,)), 1, Fleet(ready=1), id="ready ones go when none start"
        ),
    ],
)
def test_a_decision_is_obeyed(fleet: Fleet, desired: int, expected: Fleet) -> None:
    assert obey(fleet, desired, now_us=10, start_delay_us=40) == expected


def test_a_replica_is_ready_when_its_time_has_come() -> None:
    fleet = Fleet(ready=1, starting_us=(20, 30))

    assert matured(fleet, now_us=19) == fleet
    assert matured(fleet, now_us=20) == Fleet(ready=2, starting_us=(30,))
    assert matured(fleet, now_us=99) == Fleet(ready=3)
