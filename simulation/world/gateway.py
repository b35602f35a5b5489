"""Gateway: one tenant's gateway; it knows the doors and what their answers mean.

It makes the calls that the product's gateway client makes (``admission.gateways``), without a
network: a door that cannot answer now is followed by the next, a call that belongs elsewhere is
made there once, a ``share_exhausted`` refusal that names the home is taken there once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from schemas.decisions import RefusalReason
from schemas.units import US_PER_S, TokenCounts
from simulation.policy import (
    Denied,
    Elsewhere,
    Ended,
    Granted,
    Kept,
    NotNow,
    Policy,
    Unknown,
    Usage,
)
from simulation.world.doors import Doors
from simulation.world.measures import Tally
from simulation.world.requests import Request
from simulation.world.scenario import DoorChoice

Answer = TypeVar("Answer", Kept, Ended)

ROUND_WAIT_US_MAX: Final = US_PER_S
"""The longest pause between two rounds over all doors."""


class Gateway:
    """All requests of one entitlement go through it; its usage events are one numbered source."""

    def __init__(
        self, policy: Policy, tally: Tally, *, choice: DoorChoice, rng: random.Random
    ) -> None:
        self._policy = policy
        self._tally = tally
        self._doors = Doors(policy.doors, choice, rng)
        self._source = f"gateway/{tally.uid}"
        self._sequence = 0

    def reserve(self, request: Request, *, now_us: int) -> Granted | Denied | NotNow:
        """Put one attempt to the doors; ``NotNow`` when none of them could answer."""
        ask = request.ask()
        soonest_us = ROUND_WAIT_US_MAX
        avoid = None if request.is_polite else request.last_door
        for door in self._doors.order(now_us=now_us, avoid=avoid):
            answer = self._policy.reserve(ask, door=door, now_us=now_us)
            request.last_door = door
            if isinstance(answer, NotNow):
                self._doors.failed(door, now_us=now_us)
                soonest_us = min(soonest_us, answer.retry_in_us)
                continue
            self._doors.answered(door)
            if isinstance(answer, Denied):
                return self._at_home(request, answer, door=door, now_us=now_us)
            return answer
        return NotNow(retry_in_us=max(1, soonest_us))

    def _at_home(
        self, request: Request, denied: Denied, *, door: int, now_us: int
    ) -> Granted | Denied:
        if denied.reason != RefusalReason.SHARE_EXHAUSTED:
            return denied
        self._tally.share_exhausted += 1
        if not request.is_polite or denied.home is None or denied.home == door:
            return denied
        if denied.home_has_all:
            self._doors.has_home(denied.home)
        self._tally.went_home += 1
        ask = replace(request.ask(), ticket=denied.ticket)
        answer = self._policy.reserve(ask, door=denied.home, now_us=now_us)
        if isinstance(answer, NotNow):
            return denied
        self._tally.admitted_at_home += isinstance(answer, Granted)
        request.last_door = denied.home
        return answer

    def renew(self, request: Request, *, now_us: int) -> Kept | Unknown | None:
        """Keep the reservation; None when nobody could say anything."""
        output_tokens = request.output_tokens(now_us)

        def ask(door: int) -> Kept | Elsewhere | Unknown | NotNow:
            return self._policy.renew(
                request.handle, door=door, output_tokens=output_tokens, now_us=now_us
            )

        return self._at_owner(request.door, ask)

    def settle(
        self, request: Request, used: TokenCounts, *, completed: bool, now_us: int
    ) -> Ended | Unknown | None:
        """End the reservation; None when nobody could say anything."""

        def ask(door: int) -> Ended | Elsewhere | Unknown | NotNow:
            return self._policy.settle(
                request.handle, used, door=door, completed=completed, now_us=now_us
            )

        return self._at_owner(request.door, ask)

    def _at_owner(
        self, door: int, ask: Callable[[int], Answer | Elsewhere | Unknown | NotNow]
    ) -> Answer | Unknown | None:
        """Return the owner's answer; the others are asked who that is while it has none."""
        candidates = [door, *self._doors.others(door)]
        asked: set[int] = set()
        followed = False
        while candidates:
            candidate = candidates.pop(0)
            if candidate in asked:
                continue
            asked.add(candidate)
            answer = ask(candidate)
            if isinstance(answer, Elsewhere):
                if not followed:
                    followed = True
                    candidates.insert(0, answer.door)
            elif not isinstance(answer, NotNow):
                return answer
        return None

    def meter(self, request: Request, used: TokenCounts, *, final: bool, now_us: int) -> None:
        """Emit what was used since the last event; a partial one only if there is something."""
        if request.timing is None or (used == request.metered and not final):
            return
        granted = request.granted
        self._sequence += 1
        start_us = max(request.metered_us, request.timing.started_us)
        usage = Usage(
            id=f"{self._source}/{self._sequence}",
            source=self._source,
            sequence=self._sequence,
            entitlement=request.uid,
            request_id=request.id,
            counts=_less(used, request.metered),
            start_us=start_us,
            end_us=max(now_us, start_us),
            final=final,
            served_class=granted.served_class if granted else None,
        )
        request.metered, request.metered_us = used, usage.end_us
        self._policy.meter(usage, now_us=now_us)


def _less(counts: TokenCounts, other: TokenCounts) -> TokenCounts:
    return TokenCounts(
        input_tokens=counts.input_tokens - other.input_tokens,
        cache_read_tokens=counts.cache_read_tokens - other.cache_read_tokens,
        output_tokens=counts.output_tokens - other.output_tokens,
    )
