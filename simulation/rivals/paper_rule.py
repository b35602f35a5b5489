"""Paper rule: the five admission checks of arXiv 2603.00356, section 4.3, and its settlement.

A small model of the paper's *text*, so that its consequences can be seen; the paper published no
code.  One door.  In order, the first that fails refuses (429):

1. the entitlement is bound (always, here);
2. ``max_tokens`` has a default (the world always names it);
3. in-flight requests < r_e.  The paper's elastic tenants hold 7 slots with r_e = 5, so for
   classes that may burst r_e is the burst limit;
4. input + ``max_tokens`` fit the remaining throughput allocation.  The paper compares a count with
   a rate; here a bucket as deep as ``bucketSeconds`` that drains at the entitlement's largest rate;
5. when the pool is contended (as many in flight as ready slots; undefined in the paper), the weight
   must exceed the lowest weight among admitted requests: strictly, as fits the paper's numbers.

KV cache is checked nowhere.  An entitlement joins with its first request and is owed nothing then
("newcomers start with zero debt"); the average SLO target is that of those who have joined, so a
newcomer moves everybody's weight.  Every ``interval_us`` (5 s fits the paper's recovery time) the
settled tokens update burst and debt by eq. (1) to (3) in their literal form
(``streams.core.paper``), with the pool's half-lives and no clamp.  A settlement that never comes
leaves its request in flight for ever: the paper says nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from admission.core.bucket import Bucket
from schemas.pools import Entitlement, Pool
from schemas.units import PPM, US_PER_S, Resources, TokenCounts
from simulation.policy import Ask, Denied, Ended, Granted, Kept, Priority, Unknown, Usage
from simulation.rivals.floors import FloorWatch, estimate_tokens, kv_bytes
from streams.core.paper import average_slo_ms, decay_over, excess_of, faded, gap_of, weight_of

INTERVAL_US: Final = 5 * US_PER_S
RETRY_AFTER_US: Final = US_PER_S
"""Undefined in the paper."""
CONCURRENCY: Final = "concurrency"
TOKEN_BUDGET: Final = "token_budget"
LOW_PRIORITY: Final = "low_priority"


@dataclass(slots=True)
class _Entry:
    """One entitlement's state: what the paper keeps in Redis."""

    entitlement: Entitlement
    bucket: Bucket
    weight: float = 0.0
    debt: float = 0.0
    burst: float = 0.0
    has_joined: bool = False
    settled_tokens: int = 0
    """Since the last interval."""
    running: dict[str, Ask] = field(default_factory=dict)


class PaperRule:
    """The policy; see the module."""

    name = "paper-rule"
    doors = 1

    def __init__(
        self,
        pool: Pool,
        *,
        average_ms: float | None = None,
        interval_us: int = INTERVAL_US,
    ) -> None:
        """``average_ms``: the average SLO target; None: of those who have joined."""
        self._pool = pool
        self._interval_us = interval_us
        self._next_us = interval_us
        self._slots = 0
        self._in_flight = 0
        self._average_ms = average_ms
        self._entries = {uid: _entry(each, pool) for uid, each in pool.entitlements.items()}
        self._owners: dict[str, _Entry] = {}
        self._floors = FloorWatch(pool)
        self._weigh_all()

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted | Denied:
        entry = self._entries[ask.entitlement]
        if not entry.has_joined:
            entry.has_joined = True
            self._weigh_all()
        reason = self._failed_check(entry, ask, now_us=now_us)
        if reason:
            return Denied(
                reason=reason,
                retry_after_us=RETRY_AFTER_US,
                inside_floor=self._floors.is_inside(ask, now_us=now_us),
            )
        entry.running[ask.request_id] = ask
        entry.bucket.charge(estimate_tokens(ask), now_us=now_us)
        self._owners[ask.request_id] = entry
        self._in_flight += 1
        self._floors.admitted(ask, now_us=now_us)
        return Granted(
            handle=ask.request_id, door=door, served_class=entry.entitlement.service_class
        )

    def _failed_check(self, entry: _Entry, ask: Ask, *, now_us: int) -> str:
        if len(entry.running) >= entry.entitlement.ceiling.slots:
            return CONCURRENCY
        if not entry.bucket.admits(now_us):
            return TOKEN_BUDGET
        if self._in_flight >= self._slots and entry.weight <= self._threshold():
            return LOW_PRIORITY
        return ""

    def _threshold(self) -> float:
        """Return the lowest weight among admitted requests; nothing runs: anything exceeds it."""
        weights = [entry.weight for entry in self._entries.values() if entry.running]
        return min(weights, default=float("-inf"))

    def renew(self, handle: str, *, door: int, output_tokens: int, now_us: int) -> Kept:
        return Kept(handle=handle, door=door, renew_in_us=0)

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended | Unknown:
        entry = self._owners.pop(handle, None)
        if entry is None:
            return Unknown()
        ask = entry.running.pop(handle)
        self._in_flight -= 1
        cost = self._pool.weights.cost_tokens(used)
        entry.settled_tokens += cost
        entry.bucket.charge(cost - estimate_tokens(ask), now_us=now_us)
        self._floors.ended(ask, used, now_us=now_us)
        return Ended(first=True)

    def meter(self, usage: Usage, *, now_us: int) -> None:
        """The paper counts what is settled, at its completion."""

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        self._slots = self._pool.per_replica.times(ready).slots

    def replicas_wanted(self, *, now_us: int) -> int | None:
        """The paper defines no scaling rule."""
        return None

    def next_event_us(self) -> int | None:
        return self._next_us

    def advance(self, *, now_us: int) -> None:
        """Account for every interval that is over."""
        while self._next_us <= now_us:
            for entry in self._entries.values():
                if entry.has_joined:
                    self._account(entry)
            self._weigh_all()
            self._next_us += self._interval_us

    def priorities(self) -> Mapping[str, Priority]:
        """Return weights, debts and bursts in ppm, rounded to nearest."""
        return {
            uid: Priority(
                weight_ppm=round(entry.weight * PPM),
                debt_ppm=round(entry.debt * PPM),
                burst_ppm=round(entry.burst * PPM),
            )
            for uid, entry in self._entries.items()
        }

    def _account(self, entry: _Entry) -> None:
        """Apply eq. (2) and (3) to the interval."""
        policy, baseline = self._pool.policy, entry.entitlement.baseline
        served = entry.settled_tokens * US_PER_S // self._interval_us
        entry.settled_tokens = 0
        held = sum(kv_bytes(ask, self._pool) for ask in entry.running.values())
        use = Resources(served, held, len(entry.running))
        entry.debt = faded(
            entry.debt,
            gap_of(served=served, baseline=baseline.tokens_per_s),
            decay=decay_over(self._interval_us, half_life_s=policy.debt_half_life_seconds),
        )
        entry.burst = faded(
            entry.burst,
            excess_of(use, baseline=baseline),
            decay=decay_over(self._interval_us, half_life_s=policy.burst_half_life_seconds),
        )

    def _weigh_all(self) -> None:
        """Apply eq. (1)."""
        average_ms = self._average_slo_ms() if self._average_ms is None else self._average_ms
        for entry in self._entries.values():
            entry.weight = weight_of(
                entry.entitlement.service_class,
                slo_ms=entry.entitlement.slo_ms,
                average_ms=average_ms,
                debt=entry.debt,
                burst=entry.burst,
                policy=self._pool.policy,
            )

    def _average_slo_ms(self) -> float:
        """Return the average of those who have joined; of all before anybody has."""
        entries = list(self._entries.values())
        joined = [entry for entry in entries if entry.has_joined] or entries
        return average_slo_ms([entry.entitlement.slo_ms for entry in joined])


def _entry(entitlement: Entitlement, pool: Pool) -> _Entry:
    rate = entitlement.ceiling.at_most(pool.per_replica.times(pool.replicas_max)).tokens_per_s
    return _Entry(entitlement, Bucket(rate=rate, depth_s=pool.bucket_s))
