"""Register: who is alive, what is noted for whom, and the one end that each request has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from simulation.world.agenda import Agenda
from simulation.world.measures import Measures, Outcome, RequestRecord, Tally
from simulation.world.requests import Request
from simulation.world.story import Tell


class Register:
    """What those who handle requests share."""

    def __init__(
        self, measures: Measures, agenda: Agenda, *, records_max: int, tell: Tell | None
    ) -> None:
        self.alive: dict[int, Request] = {}
        """By number: requests that have not ended."""
        self.in_flight = dict.fromkeys(measures.tallies, 0)
        """By entitlement: admitted requests that have not ended."""
        self.has_story = tell is not None
        """Ask before a detail is put together that nobody hears."""
        self._measures = measures
        self._agenda = agenda
        self._records_max = records_max
        self._tell = tell

    def tally(self, request: Request) -> Tally:
        """Return the counts of the request's entitlement."""
        return self._measures.tallies[request.uid]

    def note(self, at_us: int, act: Callable[[Request, int], None], request: Request) -> None:
        """Do this with the request then, unless it is over."""
        self._agenda.note(at_us, partial(act, request), request=request)

    def say(self, request: Request, now_us: int, what: str, detail: str) -> None:
        """Tell of the request, if somebody listens."""
        if self._tell is not None:
            self._tell(now_us, f"{request.uid} {request.id}", what, detail)

    def begin(self, request: Request) -> None:
        """Count a request that begins."""
        self.alive[request.number] = request
        self.tally(request).requests += 1

    def end(
        self, request: Request, outcome: Outcome, *, output_tokens: int = 0, now_us: int
    ) -> None:
        """Give the request its end; a second one would be our bug."""
        assert not request.has_ended
        request.has_ended = True
        del self.alive[request.number]
        tally = self.tally(request)
        tally.outcomes[outcome] += 1
        tally.output_tokens += output_tokens
        if request.admitted_us is not None:
            self.in_flight[request.uid] -= 1
        if self.has_story:
            self.say(request, now_us, outcome, f"{output_tokens} tokens")
        if self._measures.requests_kept >= self._records_max:
            self._measures.records_dropped += 1
            return
        self._measures.requests_kept += 1
        tally.records.append(_record_of(request, outcome, output_tokens, now_us=now_us))


def _record_of(
    request: Request, outcome: Outcome, output_tokens: int, *, now_us: int
) -> RequestRecord:
    timing = request.timing
    has_first_token = timing is not None and timing.first_token_us <= now_us
    return RequestRecord(
        number=request.number,
        first_attempt_us=request.first_attempt_us,
        ended_us=now_us,
        outcome=outcome,
        attempts=request.attempts,
        refusals=request.refusals,
        admitted_us=request.admitted_us,
        first_token_us=timing.first_token_us if timing and has_first_token else None,
        output_tokens=output_tokens,
        demoted=request.granted is not None and request.granted.demoted,
    )
