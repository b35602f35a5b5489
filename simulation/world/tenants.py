"""Tenants: a request's attempts, from the first until it is admitted or given up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.decisions import RefusalReason
from schemas.units import US_PER_MS, US_PER_S
from simulation.arrivals import Arrival
from simulation.policy import Denied, Granted, NotNow
from simulation.world.gateway import Gateway
from simulation.world.measures import Outcome
from simulation.world.register import Register
from simulation.world.requests import Request
from simulation.world.running import Running
from simulation.world.scenario import Scenario

UNREACHABLE: Final = "unreachable"
"""No door answered in all rounds: not a policy's reason, but it is counted beside them."""
UNREACHABLE_WAIT_US: Final = US_PER_S
ROUNDS_MAX: Final = 8
"""How often all doors are asked again within one attempt when none can answer."""
RETRY_US_MIN: Final = 50 * US_PER_MS
"""The shortest pause before a polite retry, if the policy names none."""


class Tenants:
    """All requests that are not admitted yet."""

    def __init__(
        self,
        scenario: Scenario,
        gateways: Mapping[str, Gateway],
        *,
        register: Register,
        running: Running,
    ) -> None:
        self._scenario = scenario
        self._gateways = gateways
        self._register = register
        self._running = running
        self._last_number = 0

    def arrive(self, arrival: Arrival, uid: str, *, now_us: int) -> None:
        """Let a request begin with its first attempt."""
        self._last_number += 1
        request = Request(
            number=self._last_number,
            id=f"r{self._last_number}",
            uid=uid,
            arrival=arrival,
            behaviour=self._scenario.behaviour_of(uid),
            first_attempt_us=now_us,
        )
        self._register.begin(request)
        self._attempt(request, now_us)

    def _attempt(self, request: Request, now_us: int) -> None:
        if not request.rounds:
            request.attempts += 1
            self._register.tally(request).attempts += 1
        answer = self._gateways[request.uid].reserve(request, now_us=now_us)
        match answer:
            case Granted():
                self._running.admit(request, answer, now_us=now_us)
            case Denied():
                self._refuse(request, answer, now_us=now_us)
            case NotNow():
                self._nobody_answers(request, answer, now_us=now_us)

    def _nobody_answers(self, request: Request, answer: NotNow, *, now_us: int) -> None:
        request.rounds += 1
        if request.rounds < ROUNDS_MAX:
            self._register.note(now_us + answer.retry_in_us, self._attempt, request)
            return
        unreachable = Denied(reason=UNREACHABLE, retry_after_us=UNREACHABLE_WAIT_US)
        self._refuse(request, unreachable, now_us=now_us)

    def _refuse(self, request: Request, denied: Denied, *, now_us: int) -> None:
        request.rounds = 0
        self._count(request, denied)
        if self._register.has_story:
            wait_ms = denied.retry_after_us // US_PER_MS
            detail = f"{denied.reason} at door {request.last_door}, {wait_ms} ms"
            self._register.say(request, now_us, "refused", detail)
        if denied.reason == RefusalReason.IMPOSSIBLE:
            self._leave(request, Outcome.REJECTED, now_us=now_us)
            return
        again_us = now_us + self._wait_us(request, denied)
        behaviour = request.behaviour
        is_patient = again_us - request.first_attempt_us <= behaviour.patience_us
        if request.attempts < behaviour.attempts_max and is_patient:
            self._register.note(again_us, self._attempt, request)
        else:
            self._leave(request, Outcome.GAVE_UP, now_us=now_us)

    def _wait_us(self, request: Request, denied: Denied) -> int:
        """Return the pause before the next attempt; a polite tenant keeps the ticket."""
        if not request.is_polite:
            return request.behaviour.pause_us
        request.ticket = denied.ticket or request.ticket
        return max(RETRY_US_MIN, denied.retry_after_us)

    def _count(self, request: Request, denied: Denied) -> None:
        tally = self._register.tally(request)
        tally.refused_attempts[denied.reason] += 1
        if denied.reason not in request.reasons:
            request.reasons.add(denied.reason)
            tally.refused_requests[denied.reason] += 1
        tally.requests_refused += request.refusals == 0
        tally.floor_refusals += denied.inside_floor
        request.refusals += 1

    def _leave(self, request: Request, outcome: Outcome, *, now_us: int) -> None:
        self._register.end(request, outcome, now_us=now_us)
        request.is_over = True
