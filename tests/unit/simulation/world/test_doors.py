"""Doors: the order in which a gateway asks them."""

import random

import pytest

from simulation.world.doors import SUSPECT_US, Doors
from simulation.world.scenario import DoorChoice


def doors(choice: DoorChoice, count: int = 3) -> Doors:
    return Doors(count, choice, random.Random(1))


@pytest.mark.parametrize("choice", DoorChoice)
def test_every_door_is_asked_once(choice: DoorChoice) -> None:
    order = doors(choice).order(now_us=0)

    assert sorted(order) == [0, 1, 2]


def test_round_robin_begins_one_door_further_each_time() -> None:
    round_robin = doors(DoorChoice.ROUND_ROBIN)

    first = [round_robin.order(now_us=0)[0] for _ in range(6)]

    assert first[:3] == first[3:]
    assert sorted(first[:3]) == [0, 1, 2]


def test_sticky_always_begins_at_the_same_door() -> None:
    sticky = doors(DoorChoice.STICKY)

    assert len({sticky.order(now_us=0)[0] for _ in range(6)}) == 1


def test_a_door_that_did_not_answer_is_asked_last_for_a_while() -> None:
    sticky = doors(DoorChoice.STICKY)
    first = sticky.order(now_us=0)[0]

    sticky.failed(first, now_us=0)

    assert sticky.order(now_us=SUSPECT_US - 1)[-1] == first
    assert sticky.order(now_us=SUSPECT_US)[0] == first


def test_the_home_is_asked_first_unless_it_is_suspect() -> None:
    robin = doors(DoorChoice.ROUND_ROBIN)
    robin.has_home(2)

    assert {robin.order(now_us=0)[0] for _ in range(3)} == {2}
    robin.failed(2, now_us=0)
    assert robin.order(now_us=1)[-1] == 2
    robin.answered(2)
    assert robin.order(now_us=2)[0] == 2


def test_an_impolite_tenant_goes_to_another_door() -> None:
    assert doors(DoorChoice.STICKY).order(now_us=0, avoid=1) == [2, 0, 1]
