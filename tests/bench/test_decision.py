"""How long does one decision take in process: ``Gate.reserve`` and the ``settle`` that ends it?

CPU time of the thread, each call alone and both together.  The ceiling is empty calls of the same
signatures, each with the HMAC that a reservation's id needs.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from time import thread_time_ns
from typing import Final, NamedTuple

from admission.core.answers import Admitted, Closed, Renewed
from admission.core.moment import Moment
from schemas.reservations import ReserveBody, SettleBody
from schemas.specs import ServiceClass
from tests.bench.figures import Figure
from tests.unit.admission.pools import CAPACITY, KEY, World

DECISIONS: Final = 20_000
WARM_UP: Final = 2_000
OPEN: Final = 64
"""Requests that stay open all the while."""
STEP_US: Final = 1_000
"""Virtual time between two requests: the bucket drains faster than they fill it."""
TICK_REQUESTS: Final = 1_000
"""Requests from one admission state to the next."""
ELASTIC: Final = ServiceClass.ELASTIC.value
USED: Final = SettleBody(input_tokens=4, output_tokens=4)
PAYLOAD: Final = b"p" * 160


class Empty:
    """What any admitter must do at least."""

    def reserve(self, body: ReserveBody, *, now: Moment) -> bytes:
        """Sign an id."""
        return hmac.digest(KEY, PAYLOAD, "sha256")

    def settle(self, reservation_id: str, body: SettleBody, *, now: Moment) -> bytes:
        """Check an id."""
        return hmac.digest(KEY, PAYLOAD, "sha256")


class Timed(NamedTuple):
    """The CPU time of every measured call, in nanoseconds."""

    reserve_ns: list[int]
    settle_ns: list[int]

    @property
    def both_ns(self) -> list[int]:
        """What one request costs."""
        return [*map(int.__add__, self.reserve_ns, self.settle_ns)]


def timed(
    reserve: Callable[[int], str], settle: Callable[[str], None], *, before: Callable[[int], None]
) -> Timed:
    """Time both calls of every request; ``reserve`` returns the id that ``settle`` ends."""
    taken = Timed([], [])
    for number in range(WARM_UP + DECISIONS):
        before(number)
        started_ns = thread_time_ns()
        reservation_id = reserve(number)
        reserved_ns = thread_time_ns()
        settle(reservation_id)
        settled_ns = thread_time_ns()
        taken.reserve_ns.append(reserved_ns - started_ns)
        taken.settle_ns.append(settled_ns - reserved_ns)
    return Timed(taken.reserve_ns[WARM_UP:], taken.settle_ns[WARM_UP:])


def percentile_us(times_ns: list[int], percent: int) -> float:
    """Return a percentile in microseconds."""
    return sorted(times_ns)[len(times_ns) * percent // 100] / 1_000


def body(number: int) -> ReserveBody:
    """Return a small request."""
    return ReserveBody(
        pool="chat", entitlement=ELASTIC, input_tokens=4, max_tokens=10, request_id=f"r{number}"
    )


def gate_times() -> Timed:
    """Time the gate while ``OPEN`` other requests run, are renewed, and states come."""
    world = World()
    world.share({ELASTIC: CAPACITY})
    bodies = [body(number) for number in range(WARM_UP + DECISIONS)]
    others = [
        world.admitted(ELASTIC, request_id=f"open-{number}").reservation_id
        for number in range(OPEN)
    ]

    def step(number: int) -> None:
        world.pass_us(STEP_US)
        if number % TICK_REQUESTS == 0:
            world.share({ELASTIC: CAPACITY}, tick=2 + number // TICK_REQUESTS, settle_s=0)
            for other in others:
                renewed = world.gate.renew(other, output_tokens=0, now=world.now)
                assert isinstance(renewed, Renewed)

    def reserve(number: int) -> str:
        answer = world.gate.reserve(bodies[number], now=world.now)
        assert isinstance(answer, Admitted)
        return answer.reservation.reservation_id

    def settle(reservation_id: str) -> None:
        assert isinstance(world.gate.settle(reservation_id, USED, now=world.now), Closed)

    return timed(reserve, settle, before=step)


def least_times() -> Timed:
    """Time the calls that do nothing else."""
    empty, now, same = Empty(), World().now, body(0)

    def reserve(_: int) -> str:
        empty.reserve(same, now=now)
        return ""

    def settle(reservation_id: str) -> None:
        empty.settle(reservation_id, USED, now=now)

    return timed(reserve, settle, before=lambda _: None)


def test_decision_time(figures: list[Figure]) -> None:
    taken, least = gate_times(), least_times()
    series = (
        ("reserve", taken.reserve_ns, least.reserve_ns, "an empty call with HMAC"),
        ("settle", taken.settle_ns, least.settle_ns, "an empty call with HMAC"),
        ("reserve_settle", taken.both_ns, least.both_ns, "empty calls with HMAC"),
    )
    for name, times_ns, least_ns, ceiling_name in series:
        for percent in (50, 99):
            value, ceiling = percentile_us(times_ns, percent), percentile_us(least_ns, percent)
            figure = f"admission.{name}.p{percent}"
            figures.append(Figure(figure, value, "us", ceiling, ceiling_name))
