"""Watch: token pools with a judge beside every call.

``Watched`` passes each call on and tells the book what was asked and answered, while the admitter
still is as it was when it answered.
"""

from __future__ import annotations

from schemas.units import TokenCounts
from simulation.laws.book import LawBook
from simulation.policy import (
    Ask,
    Denied,
    Elsewhere,
    Ended,
    Granted,
    Kept,
    NotNow,
    Unknown,
    Usage,
)
from simulation.pools.tokenpools import TokenPools


class Watched:
    """A policy that answers as token pools do."""

    def __init__(self, policy: TokenPools, book: LawBook) -> None:
        self._policy = policy
        self._book = book
        self.name = policy.name
        self.doors = policy.doors

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted | Denied | NotNow:
        """Pass it on."""
        self._book.look(now_us)
        answer = self._policy.reserve(ask, door=door, now_us=now_us)
        if isinstance(answer, Granted):
            self._book.granted(ask, answer, now_us=now_us)
        elif isinstance(answer, Denied):
            self._book.denied(ask, answer, door=door, now_us=now_us)
        return answer

    def renew(
        self, handle: str, *, door: int, output_tokens: int, now_us: int
    ) -> Kept | Elsewhere | Unknown | NotNow:
        """Pass it on."""
        self._book.look(now_us)
        answer = self._policy.renew(handle, door=door, output_tokens=output_tokens, now_us=now_us)
        self._book.renewed(handle, answer, door=door, now_us=now_us)
        return answer

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended | Elsewhere | Unknown | NotNow:
        """Pass it on."""
        self._book.look(now_us)
        before = self._book.before_settlement(handle, door=door)
        answer = self._policy.settle(handle, used, door=door, completed=completed, now_us=now_us)
        self._book.settled(handle, used, answer, before, door=door, now_us=now_us)
        return answer

    def meter(self, usage: Usage, *, now_us: int) -> None:
        """Pass it on."""
        self._policy.meter(usage, now_us=now_us)

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        """Pass it on."""
        self._policy.resize(ready=ready, starting=starting, draining=draining, now_us=now_us)
        self._book.look(now_us)

    def replicas_wanted(self, *, now_us: int) -> int | None:
        """Pass it on."""
        return self._policy.replicas_wanted(now_us=now_us)

    def next_event_us(self) -> int | None:
        """Pass it on."""
        return self._policy.next_event_us()

    def advance(self, *, now_us: int) -> None:
        """Pass it on."""
        self._policy.advance(now_us=now_us)
