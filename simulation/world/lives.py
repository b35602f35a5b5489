"""Lives: what happens to each request, from its first attempt to its one end.

Admitted requests go to the engine at once: whatever the policy lets in beyond the slots waits in
the engine's queue.  Every chance (an abort, a lost gateway, when a told request stops) is drawn
when the request arrives, from streams of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Final

from schemas.decisions import RefusalReason
from schemas.units import PPM, US_PER_MS, US_PER_S
from simulation.arrivals import Arrival
from simulation.engine import Finished, Lost, Started
from simulation.policy import Denied, Ended, Granted, Kept, NotNow, Policy, Unknown
from simulation.world.agenda import Agenda
from simulation.world.gateway import Gateway
from simulation.world.host import Host
from simulation.world.measures import Measures, Outcome, RequestRecord, Tally
from simulation.world.requests import Request
from simulation.world.scenario import Scenario

UNREACHABLE: Final = "unreachable"
"""No door answered in all rounds: not a policy's reason, but it is counted beside them."""
ROUNDS_MAX: Final = 8
"""How often all doors are asked again within one attempt when none can answer."""
RETRY_US_MIN: Final = 50 * US_PER_MS
"""The shortest pause before a polite retry, if the policy names none."""
RENEW_RETRY_US: Final = 500 * US_PER_MS
"""Pause before a renewal that reached nobody is tried again; grows for settlements."""
SETTLE_ATTEMPTS_MAX: Final = 6
TTL_RENEWALS: Final = 3
"""A reservation outlives so many renewals that did not come."""
UNREACHABLE_WAIT_US: Final = US_PER_S

Say = Callable[[int, str, str, str], None]


class Lives:
    """All requests that are alive, and those that only wait for their settlement to be heard."""

    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        *,
        host: Host,
        agenda: Agenda,
        measures: Measures,
        tell: Say | None,
    ) -> None:
        self._scenario = scenario
        self._host = host
        self._agenda = agenda
        self._measures = measures
        self._tell = tell
        self._alive: dict[int, Request] = {}
        self._last_number = 0
        self.in_flight = dict.fromkeys(measures.tallies, 0)
        self._gateways = {
            uid: Gateway(
                policy,
                tally,
                choice=scenario.behaviour_of(uid).doors,
                rng=self._stream("doors", uid),
            )
            for uid, tally in measures.tallies.items()
        }
        self._mishaps = {uid: self._stream("mishaps", uid) for uid in measures.tallies}

    def _stream(self, concern: str, uid: str) -> random.Random:
        return random.Random(f"{self._scenario.seed}/{concern}/{uid}")

    @property
    def alive(self) -> int:
        """Requests that have not ended."""
        return len(self._alive)

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
        self._alive[request.number] = request
        self._tally(request).requests += 1
        self._attempt(request, now_us)

    def heard(self, event: Started | Finished, *, now_us: int) -> None:
        """Follow what the engine did."""
        request = self._alive.get(event.job.id)
        if request is None:
            return
        if isinstance(event, Started):
            request.timing = event.timing
            if self._tell is not None:
                self._say(request, now_us, "starts", f"replica {event.timing.replica}")
            return
        request.timing = event.timing
        request.completed = True
        self._end(request, Outcome.COMPLETED, event.job.output_tokens, now_us=now_us)

    def lose(self, lost: Lost, *, now_us: int) -> None:
        """End a request whose replica is gone."""
        request = self._alive[lost.job.id]
        self._end(request, Outcome.FAILED, lost.progress.output_tokens, now_us=now_us)

    def stop_all(self, *, now_us: int) -> None:
        """End what is alive because the world ends; nobody is told."""
        for request in list(self._alive.values()):
            output_tokens = request.output_tokens(now_us)
            self._record(request, Outcome.UNFINISHED, output_tokens, now_us=now_us)
            request.is_over = True

    # attempts

    def _attempt(self, request: Request, now_us: int) -> None:
        if not request.rounds:
            request.attempts += 1
            self._tally(request).attempts += 1
        answer = self._gateways[request.uid].reserve(request, now_us=now_us)
        match answer:
            case Granted():
                self._admit(request, answer, now_us=now_us)
            case Denied():
                self._refuse(request, answer, now_us=now_us)
            case NotNow():
                self._nobody_answers(request, answer, now_us=now_us)

    def _nobody_answers(self, request: Request, answer: NotNow, *, now_us: int) -> None:
        request.rounds += 1
        if request.rounds < ROUNDS_MAX:
            self._note(now_us + answer.retry_in_us, self._attempt, request)
            return
        self._refuse(
            request,
            Denied(reason=UNREACHABLE, retry_after_us=UNREACHABLE_WAIT_US),
            now_us=now_us,
        )

    def _refuse(self, request: Request, denied: Denied, *, now_us: int) -> None:
        request.rounds = 0
        self._count_refusal(request, denied)
        if self._tell is not None:
            wait_ms = denied.retry_after_us // US_PER_MS
            self._say(
                request,
                now_us,
                "refused",
                f"{denied.reason} at door {request.last_door}, {wait_ms} ms",
            )
        if denied.reason == RefusalReason.IMPOSSIBLE:
            self._record(request, Outcome.REJECTED, 0, now_us=now_us)
            request.is_over = True
            return
        behaviour = request.behaviour
        wait_us = behaviour.pause_us
        if request.is_polite:
            request.ticket = denied.ticket or request.ticket
            wait_us = max(RETRY_US_MIN, denied.retry_after_us)
        is_patient = now_us + wait_us - request.first_attempt_us <= behaviour.patience_us
        if request.attempts < behaviour.attempts_max and is_patient:
            self._note(now_us + wait_us, self._attempt, request)
            return
        self._record(request, Outcome.GAVE_UP, 0, now_us=now_us)
        request.is_over = True

    def _count_refusal(self, request: Request, denied: Denied) -> None:
        tally = self._tally(request)
        tally.refused_attempts[denied.reason] += 1
        if denied.reason not in request.reasons:
            request.reasons.add(denied.reason)
            tally.refused_requests[denied.reason] += 1
        tally.requests_refused += request.refusals == 0
        tally.floor_refusals += denied.inside_floor
        request.refusals += 1

    # admitted

    def _admit(self, request: Request, granted: Granted, *, now_us: int) -> None:
        tally = self._tally(request)
        tally.admitted += 1
        tally.demoted += granted.demoted
        self.in_flight[request.uid] += 1
        request.rounds = 0
        request.granted = granted
        request.handle, request.door = granted.handle, granted.door
        request.admitted_us = request.metered_us = now_us
        if self._tell is not None:
            evicts = f", evicts {' '.join(granted.evict)}" if granted.evict else ""
            served = f"as {granted.served_class} at door {granted.door}{evicts}"
            self._say(request, now_us, "admitted", served)
        self._host.engine.submit(request.job(), now_us=now_us)
        if granted.renew_in_us and request.behaviour.can_renew:
            self._renew_later(request, granted.renew_in_us, now_us=now_us)
        self._note(now_us + self._scenario.partial_us, self._meter_partly, request)
        self._have_mishaps(request, now_us=now_us)

    def _have_mishaps(self, request: Request, *, now_us: int) -> None:
        """Draw the request's fate: the same number of draws whatever happens."""
        behaviour = request.behaviour
        if not (behaviour.abort_ppm or behaviour.vanish_ppm):
            return
        rng = self._mishaps[request.uid]
        chance, after_us = rng.randrange(PPM), rng.randrange(behaviour.abort_within_us + 1)
        if chance < behaviour.abort_ppm:
            self._note(now_us + after_us, self._abort, request)
        elif chance < behaviour.abort_ppm + behaviour.vanish_ppm:
            self._note(now_us + after_us, self._vanish, request)

    def _renew_later(self, request: Request, renew_in_us: int, *, now_us: int) -> None:
        request.runs_out_us = now_us + TTL_RENEWALS * renew_in_us
        self._note(now_us + renew_in_us, self._renew, request)

    def _renew(self, request: Request, now_us: int) -> None:
        if request.has_ended:
            return
        answer = self._gateways[request.uid].renew(request, now_us=now_us)
        match answer:
            case Kept():
                self._kept(request, answer, now_us=now_us)
            case Unknown():
                self._tally(request).lost += 1
                self._say(request, now_us, "unknown", f"renewal of {request.handle}")
            case None if now_us < request.runs_out_us:
                self._note(now_us + RENEW_RETRY_US, self._renew, request)
            case None:
                self._tally(request).lost += 1
                self._say(request, now_us, "ran out", request.handle)

    def _kept(self, request: Request, kept: Kept, *, now_us: int) -> None:
        if self._tell is not None and kept.handle != request.handle:
            self._say(request, now_us, "adopted", f"{kept.handle} at door {kept.door}")
        request.handle, request.door = kept.handle, kept.door
        if kept.renew_in_us:
            self._renew_later(request, kept.renew_in_us, now_us=now_us)
        if kept.stop_in_us is not None and not request.told_to_stop:
            request.told_to_stop = True
            self._tally(request).told_to_stop += 1
            after_us = self._mishaps[request.uid].randrange(kept.stop_in_us + 1)
            self._say(request, now_us, "must stop", f"within {kept.stop_in_us // US_PER_MS} ms")
            self._note(now_us + after_us, self._stop, request)

    def _meter_partly(self, request: Request, now_us: int) -> None:
        if request.has_ended:
            return
        used = request.counts(request.output_tokens(now_us))
        self._gateways[request.uid].meter(request, used, final=False, now_us=now_us)
        self._note(now_us + self._scenario.partial_us, self._meter_partly, request)

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
        """The gateway is lost: the engine stops, the policy hears nothing."""
        if request.has_ended:
            return
        progress = self._host.engine.cancel(request.number, now_us=now_us)
        self._record(request, Outcome.VANISHED, progress.output_tokens, now_us=now_us)
        request.is_over = True

    def _end(self, request: Request, outcome: Outcome, output_tokens: int, *, now_us: int) -> None:
        """End an admitted request, settle it and emit the last usage event."""
        request.used = request.counts(output_tokens)
        self._record(request, outcome, output_tokens, now_us=now_us)
        self._settle(request, now_us)
        self._gateways[request.uid].meter(request, request.used, final=True, now_us=now_us)

    def _settle(self, request: Request, now_us: int) -> None:
        request.settle_attempts += 1
        answer = self._gateways[request.uid].settle(
            request, request.used, completed=request.completed, now_us=now_us
        )
        tally = self._tally(request)
        if answer is None and request.settle_attempts < SETTLE_ATTEMPTS_MAX:
            wait_us = RENEW_RETRY_US * request.settle_attempts
            self._note(now_us + wait_us, self._settle, request)
            return
        request.is_over = True
        tally.unsettled += answer is None
        tally.lost += isinstance(answer, Unknown)
        if self._tell is not None and not (isinstance(answer, Ended) and answer.first):
            self._say(request, now_us, "settlement", f"{request.handle}: {answer}")

    def _record(
        self, request: Request, outcome: Outcome, output_tokens: int, *, now_us: int
    ) -> None:
        assert not request.has_ended
        request.has_ended = True
        del self._alive[request.number]
        tally = self._tally(request)
        tally.outcomes[outcome] += 1
        tally.output_tokens += output_tokens
        if request.admitted_us is not None:
            self.in_flight[request.uid] -= 1
        if self._tell is not None:
            self._say(request, now_us, outcome, f"{output_tokens} tokens")
        if self._measures.requests_kept >= self._scenario.records_max:
            self._measures.records_dropped += 1
            return
        self._measures.requests_kept += 1
        tally.records.append(_record_of(request, outcome, output_tokens, now_us=now_us))

    def _tally(self, request: Request) -> Tally:
        return self._measures.tallies[request.uid]

    def _note(self, at_us: int, act: Callable[[Request, int], None], request: Request) -> None:
        self._agenda.note(at_us, partial(act, request), request=request)

    def _say(self, request: Request, now_us: int, what: str, detail: str) -> None:
        if self._tell is not None:
            self._tell(now_us, f"{request.uid} {request.id}", what, detail)


def _record_of(
    request: Request, outcome: Outcome, output_tokens: int, *, now_us: int
) -> RequestRecord:
    timing = request.timing
    first_token_us = None
    if timing is not None and timing.first_token_us <= now_us:
        first_token_us = timing.first_token_us
    return RequestRecord(
        number=request.number,
        first_attempt_us=request.first_attempt_us,
        ended_us=now_us,
        outcome=outcome,
        attempts=request.attempts,
        refusals=request.refusals,
        admitted_us=request.admitted_us,
        first_token_us=first_token_us,
        output_tokens=output_tokens,
        demoted=request.granted is not None and request.granted.demoted,
    )
