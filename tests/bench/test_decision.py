"""How long does one decision take in process: ``Gate.reserve`` and the ``settle`` that ends it?

CPU time of the thread.  The ceiling is two empty calls of the same signatures, each with the HMAC
that a reservation's id needs.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from time import thread_time_ns
from typing import Final

from admission.core.answers import Admitted, Closed
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


def percentiles_us(
    once: Callable[[int], None], *, before: Callable[[int], None]
) -> tuple[float, float]:
    """Return the median and the 99th percentile of the time of one call, in microseconds."""
    times_ns = []
    for number in range(WARM_UP + DECISIONS):
        before(number)
        started_ns = thread_time_ns()
        once(number)
        times_ns.append(thread_time_ns() - started_ns)
    ordered = sorted(times_ns[WARM_UP:])
    return ordered[DECISIONS // 2] / 1_000, ordered[DECISIONS * 99 // 100] / 1_000


def body(number: int) -> ReserveBody:
    """Return a small request."""
    return ReserveBody(
        pool="chat", entitlement=ELASTIC, input_tokens=4, max_tokens=10, request_id=f"r{number}"
    )


def test_decision_time(figures: list[Figure]) -> None:
    world, empty = World(), Empty()
    world.share({ELASTIC: CAPACITY})
    bodies = [body(number) for number in range(WARM_UP + DECISIONS)]
    for number in range(OPEN):
        world.admitted(ELASTIC, request_id=f"open-{number}")

    def step(number: int) -> None:
        world.pass_us(STEP_US)
        if number % TICK_REQUESTS == 0:
            world.share({ELASTIC: CAPACITY}, tick=2 + number // TICK_REQUESTS, settle_s=0)

    def decide(number: int) -> None:
        now = world.now
        answer = world.gate.reserve(bodies[number], now=now)
        assert isinstance(answer, Admitted)
        ended = world.gate.settle(answer.reservation.reservation_id, USED, now=now)
        assert isinstance(ended, Closed)

    def nothing(number: int) -> None:
        now = world.now
        empty.reserve(bodies[number], now=now)
        empty.settle("", USED, now=now)

    taken = percentiles_us(decide, before=step)
    least = percentiles_us(nothing, before=lambda _: None)
    for name, value, ceiling in zip(("p50", "p99"), taken, least, strict=True):
        figures.append(
            Figure(
                f"admission.reserve_settle.{name}", value, "us", ceiling, "empty calls with HMAC"
            )
        )
