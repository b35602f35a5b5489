"""Running: an admitted request at the engine and at its gateway, until its settlement is heard.

It goes to the engine at once: whatever the policy lets in beyond the slots waits in the engine's
queue.  Its gateway renews it, emits what it used every few seconds, and settles it at its end.
Every mishap (an abort, a lost gateway, one that forgets to renew, when a request that is told to
stop does so) is drawn from a stream of its entitlement's own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from schemas.units import PPM, US_PER_MS
from simulation.engine import EngineEvent, Lost, Started
from simulation.policy import Ended, Granted, Kept, Unknown
from simulation.world.gateway import Gateway
from simulation.world.host import Host
from simulation.world.measures import Outcome
from simulation.world.register import Register
from simulation.world.requests import Request
from simulation.world.scenario import Scenario

RENEW_RETRY_US: Final = 500 * US_PER_MS
"""Pause before a renewal that reached nobody is tried again; grows for settlements."""
SETTLE_ATTEMPTS_MAX: Final = 6
TTL_RENEWALS: Final = 3
"""A reservation outlives so many renewals that did not come."""


class Running:
    """All admitted requests, and those that only wait for their settlement to be heard."""

    def __init__(
        self,
        scenario: Scenario,
        gateways: Mapping[str, Gateway],
        *,
        register: Register,
        host: Host,
    ) -> None:
        self._partial_us = scenario.partial_us
        self._gateways = gateways
        self._register = register
        self._host = host
        self._mishaps = {uid: random.Random(f"{scenario.seed}/mishaps/{uid}") for uid in gateways}
        self._stops = {uid: random.Random(f"{scenario.seed}/stops/{uid}") for uid in gateways}

    def admit(self, request: Request, granted: Granted, *, now_us: int) -> None:
        """Start a request that was admitted."""
        register, tally = self._register, self._register.tally(request)
        tally.admitted += 1
        tally.demoted += granted.demoted
        register.in_flight[request.uid] += 1
        request.rounds = 0
        request.granted = granted
        request.handle, request.door = granted.handle, granted.door
        request.admitted_us = request.metered_us = now_us
        if register.has_story:
            evicts = f", evicts {len(granted.evict)}" if granted.evict else ""
            served = f"as {granted.served_class} at door {granted.door}{evicts}"
            register.say(request, now_us, "admitted", served)
        self._host.engine.submit(request.job(), now_us=now_us)
        self._draw_mishap(request, now_us=now_us)
        if granted.renew_in_us and request.behaviour.can_renew and not request.forgets_to_renew:
            self._renew_later(request, granted.renew_in_us, now_us=now_us)
        register.note(now_us + self._partial_us, self._meter_partly, request)

    def hear(self, event: EngineEvent, *, now_us: int) -> None:
        """Follow what the engine did."""
        request = self._register.alive.get(event.job.id)
        if request is None:
            return
        request.timing = event.timing
        if isinstance(event, Started):
            if self._register.has_story:
                self._register.say(request, now_us, "starts", f"replica {event.timing.replica}")
            return
        request.completed = True
        self._end(request, Outcome.COMPLETED, event.job.output_tokens, now_us=now_us)

    def lose(self, lost: Lost, *, now_us: int) -> None:
        """End a request whose replica is gone."""
        request = self._register.alive[lost.job.id]
        self._end(request, Outcome.FAILED, lost.progress.output_tokens, now_us=now_us)

    def stop_all(self, *, now_us: int) -> None:
        """End everybody, waiting for admission or admitted, because the world ends."""
        for request in list(self._register.alive.values()):
            output_tokens = request.output_tokens(now_us)
            self._register.end(
                request, Outcome.UNFINISHED, output_tokens=output_tokens, now_us=now_us
            )
            request.is_over = True

    def _draw_mishap(self, request: Request, *, now_us: int) -> None:
        """Draw the request's fate: the same number of draws whatever it is."""
        behaviour = request.behaviour
        if not behaviour.has_mishaps:
            return
        rng = self._mishaps[request.uid]
        chance, after_us = rng.randrange(PPM), rng.randrange(behaviour.abort_within_us + 1)
        abort_ppm, vanish_ppm = behaviour.abort_ppm, behaviour.vanish_ppm
        if chance < abort_ppm:
            self._register.note(now_us + after_us, self._abort, request)
        elif chance < abort_ppm + vanish_ppm:
            self._register.note(now_us + after_us, self._vanish, request)
        elif chance < abort_ppm + vanish_ppm + behaviour.forget_ppm:
            request.forgets_to_renew = True
            self._register.say(request, now_us, "forgets", "it will not be renewed")

    # the reservation

    def _renew_later(self, request: Request, renew_in_us: int, *, now_us: int) -> None:
        request.runs_out_us = now_us + TTL_RENEWALS * renew_in_us
        self._register.note(now_us + renew_in_us, self._renew, request)

    def _renew(self, request: Request, now_us: int) -> None:
        if request.has_ended:
            return
        answer = self._gateways[request.uid].renew(request, now_us=now_us)
        if isinstance(answer, Kept):
            self._kept(request, answer, now_us=now_us)
        elif answer is None and now_us < request.runs_out_us:
            self._register.note(now_us + RENEW_RETRY_US, self._renew, request)
        else:
            self._register.tally(request).lost += 1
            what = "ran out" if answer is None else "unknown"
            self._register.say(request, now_us, what, "it runs on without a reservation")

    def _kept(self, request: Request, kept: Kept, *, now_us: int) -> None:
        if self._register.has_story and kept.handle != request.handle:
            self._register.say(request, now_us, "adopted", f"by door {kept.door}")
        request.handle, request.door = kept.handle, kept.door
        if kept.renew_in_us:
            self._renew_later(request, kept.renew_in_us, now_us=now_us)
        if kept.stop_in_us is not None and not request.told_to_stop:
            request.told_to_stop = True
            self._register.tally(request).told_to_stop += 1
            within_ms = kept.stop_in_us // US_PER_MS
            self._register.say(request, now_us, "must stop", f"within {within_ms} ms")
            after_us = self._stops[request.uid].randrange(kept.stop_in_us + 1)
            self._register.note(now_us + after_us, self._stop, request)

    def _meter_partly(self, request: Request, now_us: int) -> None:
        if request.has_ended:
            return
        used = request.counts(request.output_tokens(now_us))
        self._gateways[request.uid].meter(request, used, final=False, now_us=now_us)
        self._register.note(now_us + self._partial_us, self._meter_partly, request)

    # ends

    def _abort(self, request: Request, now_us: int) -> None:
        self._cancel(request, Outcome.ABORTED, now_us=now_us)

    def _stop(self, request: Request, now_us: int) -> None:
        self._cancel(request, Outcome.EVICTED, now_us=now_us)

    def _cancel(self, request: Request, outcome: Outcome, *, now_us: int) -> None:
        if request.has_ended:
            return
        progress = self._host.engine.cancel(request.number, now_us=now_us)
        self._end(request, outcome, progress.output_tokens, now_us=now_us)

    def _vanish(self, request: Request, now_us: int) -> None:
        """Lose the gateway: the engine stops, the policy hears nothing."""
        if request.has_ended:
            return
        progress = self._host.engine.cancel(request.number, now_us=now_us)
        self._register.end(
            request, Outcome.VANISHED, output_tokens=progress.output_tokens, now_us=now_us
        )
        request.is_over = True

    def _end(self, request: Request, outcome: Outcome, output_tokens: int, *, now_us: int) -> None:
        """End the request, settle it and emit the last usage event, as the gateway client does."""
        request.used = request.counts(output_tokens)
        self._register.end(request, outcome, output_tokens=output_tokens, now_us=now_us)
        self._settle(request, now_us)
        self._gateways[request.uid].meter(request, request.used, final=True, now_us=now_us)

    def _settle(self, request: Request, now_us: int) -> None:
        request.settle_attempts += 1
        answer = self._gateways[request.uid].settle(
            request, request.used, completed=request.completed, now_us=now_us
        )
        if answer is None and request.settle_attempts < SETTLE_ATTEMPTS_MAX:
            wait_us = RENEW_RETRY_US * request.settle_attempts
            self._register.note(now_us + wait_us, self._settle, request)
            return
        request.is_over = True
        tally = self._register.tally(request)
        tally.unsettled += answer is None
        tally.lost += isinstance(answer, Unknown)
        if isinstance(answer, Ended):
            tally.settled_late += answer.late
        if self._register.has_story and not (isinstance(answer, Ended) and answer.first):
            self._register.say(request, now_us, "settlement", _settlement(answer))


def _settlement(answer: Ended | Unknown | None) -> str:
    match answer:
        case Ended(late=late):
            return "late" if late else "it had ended before"
        case Unknown():
            return "nobody knows the reservation"
        case None:
            return "no door took it"
