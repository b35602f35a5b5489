"""Requests: what the world remembers of one request while it lives."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.units import NO_TOKENS, TokenCounts
from simulation.arrivals import Arrival
from simulation.engine import Job, Timing, produced
from simulation.policy import Ask, Granted
from simulation.world.scenario import Behaviour, Manners


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One request, from its first attempt until nothing about it is due any more."""

    number: int
    id: str
    uid: str
    arrival: Arrival
    behaviour: Behaviour
    first_attempt_us: int
    attempts: int = 0
    refusals: int = 0
    rounds: int = 0
    """Rounds over all doors in this attempt in which none could answer."""
    reasons: set[str] = field(default_factory=set)
    ticket: str = ""
    last_door: int | None = None
    granted: Granted | None = None
    handle: str = ""
    door: int = 0
    admitted_us: int | None = None
    runs_out_us: int = 0
    """When the reservation is gone unless it is renewed."""
    forgets_to_renew: bool = False
    told_to_stop: bool = False
    timing: Timing | None = None
    """Set once the engine has started it."""
    metered: TokenCounts = NO_TOKENS
    metered_us: int = 0
    used: TokenCounts = NO_TOKENS
    """Final, once it has ended."""
    completed: bool = False
    settle_attempts: int = 0
    has_ended: bool = False
    is_over: bool = False
    """It has ended and nothing about it is due."""

    @property
    def is_polite(self) -> bool:
        """Whether it does what a refusal says."""
        return self.behaviour.manners is Manners.POLITE

    @property
    def cached_tokens(self) -> int:
        """Input that the engine need not work on."""
        return self.arrival.input_tokens * self.behaviour.cached_input_percent // 100

    def ask(self) -> Ask:
        """Return what is put to a door."""
        cached = self.cached_tokens
        return Ask(
            request_id=self.id,
            entitlement=self.uid,
            input_tokens=self.arrival.input_tokens,
            max_tokens=self.behaviour.max_tokens(self.arrival.output_tokens),
            cached_input_tokens=cached,
            allow_demotion=self.behaviour.allow_demotion,
            can_renew=self.behaviour.can_renew,
            ticket=self.ticket,
        )

    def job(self) -> Job:
        """Return what the engine has to do."""
        return Job(
            id=self.number,
            input_tokens=self.arrival.input_tokens - self.cached_tokens,
            output_tokens=self.arrival.output_tokens,
        )

    def counts(self, output_tokens: int) -> TokenCounts:
        """Return what it has used with so much output; nothing before the engine has started."""
        if self.timing is None:
            return NO_TOKENS
        cached = self.cached_tokens
        return TokenCounts(
            input_tokens=self.arrival.input_tokens - cached,
            cache_read_tokens=cached,
            output_tokens=output_tokens,
        )

    def output_tokens(self, now_us: int) -> int:
        """Return the output so far of a request that runs."""
        if self.timing is None:
            return 0
        return produced(self.job(), self.timing, now_us=now_us)
