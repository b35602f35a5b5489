"""A world just large enough to run ``TokenPools``: requests that take a fixed time, and no engine.

Gateways behave: they renew when told, follow a redirect, meter every five seconds and at the end,
and settle until somebody has answered.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.units import NO_TOKENS, US_PER_S, TokenCounts
from simulation.policy import Ask, Denied, Elsewhere, Ended, Granted, Kept, NotNow, Unknown, Usage
from simulation.pools.faults import NONE, Faults, TimedFault
from simulation.pools.tokenpools import TokenPools
from tests.unit.streams_core.pools import entitlement, pool_of

INPUT_TOKENS = 20
TOKENS_PER_S = 15
PARTIAL_US = 5 * US_PER_S
SETTLE_US_MAX = 60 * US_PER_S


def small_pool(*, replicas: int = 2) -> Pool:
    """Return a pool of two replicas with one entitlement of each class and a second elastic."""
    return pool_of(
        entitlement("dedicated", ServiceClass.DEDICATED, 4),
        entitlement("guaranteed", ServiceClass.GUARANTEED, 12),
        entitlement("elastic-a", ServiceClass.ELASTIC, 4),
        entitlement("elastic-b", ServiceClass.ELASTIC, 4),
        entitlement("spot", ServiceClass.SPOT),
        entitlement("preemptible", ServiceClass.PREEMPTIBLE),
        replicas=replicas,
        headroom=1,
    )


@dataclass
class Running:
    """One request that runs."""

    ask: Ask
    handle: str
    door: int
    served: ServiceClass
    began_us: int
    ends_us: int
    metered_us: int
    output_tokens: int = 0
    parts: int = 0
    has_ended: bool = False
    used: TokenCounts = NO_TOKENS


@dataclass
class SmallWorld:
    """Tenants and gateways of ``TokenPools``."""

    seed: str
    doors: int = 1
    faults: Faults = NONE
    ordered: tuple[TimedFault, ...] = ()
    rate_per_s: float = 4.0
    pool: Pool = field(default_factory=small_pool)
    story: list[str] = field(default_factory=list)
    emitted: dict[str, TokenCounts] = field(default_factory=dict)
    granted: int = 0
    denied: dict[str, int] = field(default_factory=dict)
    inside_floor: int = 0
    ended: int = 0
    unknown: int = 0
    adopted: int = 0
    steps: int = 0
    on_step: Callable[[SmallWorld], None] | None = None
    _heap: list[tuple[int, int, Callable[[int], None]]] = field(default_factory=list)
    _put: int = 0
    _events: int = 0

    def __post_init__(self) -> None:
        self.random = Random(f"{self.seed}/small world")
        self.pools = TokenPools(
            self.pool,
            seed=self.seed,
            doors=self.doors,
            faults=self.faults,
            ordered=self.ordered,
            tell=self._tell,
        )

    def run(self, seconds: int, *, arrivals_until_s: int) -> None:
        """Let virtual seconds pass."""
        replicas = self.pool.replicas_min
        self.pools.resize(ready=replicas, starting=0, draining=0, now_us=0)
        self._arrive_until(arrivals_until_s * US_PER_S)
        until_us = seconds * US_PER_S
        while True:
            theirs, ours = self.pools.next_event_us(), self._heap[0][0] if self._heap else None
            due_us = min(each for each in (theirs, ours, until_us + 1) if each is not None)
            if due_us > until_us:
                break
            self.pools.advance(now_us=due_us)
            if ours == due_us:
                _, _, action = heapq.heappop(self._heap)
                action(due_us)
            self.steps += 1
            if self.on_step is not None:
                self.on_step(self)

    def _arrive_until(self, until_us: int) -> None:
        now_us, number = 0, 0
        uids = list(self.pool.entitlements)
        while now_us < until_us:
            now_us += max(1, int(self.random.expovariate(self.rate_per_s) * US_PER_S))
            number += 1
            ask = Ask(
                request_id=f"r{number}",
                entitlement=self.random.choice(uids),
                input_tokens=INPUT_TOKENS,
                max_tokens=self.random.randint(10, 300),
            )
            self.at(now_us, lambda at_us, ask=ask: self._ask(ask, at_us))  # type: ignore[misc] # bound early

    def _ask(self, ask: Ask, now_us: int) -> None:
        door = self.random.randrange(self.doors)
        answer = self.pools.reserve(ask, door=door, now_us=now_us)
        if isinstance(answer, Denied) and answer.home is not None:
            answer = self.pools.reserve(ask, door=answer.home, now_us=now_us)
        if isinstance(answer, Granted):
            self._begin(ask, answer, now_us)
        elif isinstance(answer, Denied):
            self.denied[answer.reason] = self.denied.get(answer.reason, 0) + 1
            self.inside_floor += answer.inside_floor
        else:
            self.denied["down"] = self.denied.get("down", 0) + 1

    def _begin(self, ask: Ask, granted: Granted, now_us: int) -> None:
        self.granted += 1
        tokens = self.random.randint(1, ask.max_tokens)
        running = Running(
            ask=ask,
            handle=granted.handle,
            door=granted.door,
            served=granted.served_class,
            began_us=now_us,
            ends_us=now_us + tokens * US_PER_S // TOKENS_PER_S,
            metered_us=now_us,
        )
        self.at(running.ends_us, lambda at_us: self._end(running, at_us))
        self.at(now_us + granted.renew_in_us, lambda at_us: self._renew(running, at_us))
        self.at(now_us + PARTIAL_US, lambda at_us: self._meter_partly(running, at_us))

    def _renew(self, running: Running, now_us: int) -> None:
        if now_us >= running.ends_us:
            return
        output = (now_us - running.began_us) * TOKENS_PER_S // US_PER_S
        answer = self.pools.renew(
            running.handle, door=running.door, output_tokens=output, now_us=now_us
        )
        again_us = now_us
        match answer:
            case Kept(handle=handle, door=door, renew_in_us=renew_in_us, stop_in_us=stop_in_us):
                self.adopted += handle != running.handle
                running.handle, running.door = handle, door
                again_us += renew_in_us
                if stop_in_us is not None:
                    self._stop(running, now_us)
            case Elsewhere(door=door):
                running.door = door
                again_us += 10_000
            case NotNow(retry_in_us=retry_in_us):
                running.door = (running.door + 1) % self.doors
                again_us += max(10_000, retry_in_us)
            case Unknown():
                self.unknown += 1
                return
        self.at(again_us, lambda at_us: self._renew(running, at_us))

    def _stop(self, running: Running, now_us: int) -> None:
        """End an evicted request at once, with what it has produced."""
        running.ends_us = now_us
        self._end(running, now_us)

    def _meter_partly(self, running: Running, now_us: int) -> None:
        if now_us < running.ends_us:
            self._meter(running, now_us, final=False)
            self.at(now_us + PARTIAL_US, lambda at_us: self._meter_partly(running, at_us))

    def _meter(self, running: Running, now_us: int, *, final: bool) -> None:
        output = (now_us - running.began_us) * TOKENS_PER_S // US_PER_S
        counts = TokenCounts(
            input_tokens=0 if running.parts else INPUT_TOKENS,
            output_tokens=output - running.output_tokens,
        )
        running.parts, running.output_tokens = running.parts + 1, output
        running.used += counts
        uid = running.ask.entitlement
        self.emitted[uid] = self.emitted.get(uid, NO_TOKENS) + counts
        self._events += 1
        self.pools.meter(
            Usage(
                id=f"e{self._events}",
                source="gateway",
                sequence=self._events,
                entitlement=uid,
                request_id=running.ask.request_id,
                counts=counts,
                start_us=running.metered_us,
                end_us=now_us,
                final=final,
                served_class=running.served,
            ),
            now_us=now_us,
        )
        running.metered_us = now_us

    def _end(self, running: Running, now_us: int) -> None:
        if running.has_ended:
            return
        running.has_ended = True
        self._meter(running, now_us, final=True)
        self._settle(running, now_us)

    def _settle(self, running: Running, now_us: int) -> None:
        answer = self.pools.settle(
            running.handle, running.used, door=running.door, completed=True, now_us=now_us
        )
        match answer:
            case Ended():
                self.ended += 1
                return
            case Unknown():
                self.unknown += 1
                return
            case Elsewhere(door=door):
                running.door = door
        if now_us < running.ends_us + SETTLE_US_MAX:
            self.at(now_us + 500_000, lambda at_us: self._settle(running, at_us))

    def at(self, at_us: int, action: Callable[[int], None]) -> None:
        """Let something happen then."""
        self._put += 1
        heapq.heappush(self._heap, (at_us, self._put, action))

    def _tell(self, at_us: int, who: str, what: str, detail: str) -> None:
        self.story.append(f"{at_us / US_PER_S:9.3f} s  {who:<12}  {what:<18}  {detail}")
