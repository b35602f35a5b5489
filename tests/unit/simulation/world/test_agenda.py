"""The agenda: by time, then by noting; what belongs to a request that is over is dropped."""

from functools import partial

from simulation.arrivals import Arrival
from simulation.world.agenda import Agenda
from simulation.world.requests import Request
from simulation.world.scenario import Behaviour


def request(number: int) -> Request:
    return Request(
        number=number,
        id=f"r{number}",
        uid="tenant",
        arrival=Arrival(offset_us=0, tenant="tenant", input_tokens=1, output_tokens=1),
        behaviour=Behaviour(),
        first_attempt_us=0,
    )


def run(agenda: Agenda) -> list[int]:
    times = []
    while (at_us := agenda.next_us()) is not None:
        agenda.take()(at_us)
        times.append(at_us)
    return times


def test_what_is_noted_happens_in_the_order_of_time_and_then_of_noting() -> None:
    agenda = Agenda()
    happened: list[str] = []

    def happens(name: str, now_us: int) -> None:
        happened.append(f"{name}{now_us}")

    for at_us, name in ((5, "c"), (3, "a"), (5, "d"), (3, "b")):
        agenda.note(at_us, partial(happens, name))

    assert run(agenda) == [3, 3, 5, 5]
    assert happened == ["a3", "b3", "c5", "d5"]


def test_what_was_noted_for_a_request_that_is_over_is_dropped() -> None:
    agenda, over, alive = Agenda(), request(1), request(2)
    for at_us in (1, 3):
        agenda.note(at_us, lambda now_us: None, request=over)
    agenda.note(2, lambda now_us: None, request=alive)

    over.is_over = True

    assert run(agenda) == [2]
