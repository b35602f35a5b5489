"""Central: one counter for the whole pool that always knows everything at once.

A yardstick rather than a rival: what could be had in slots if nothing had to be reported, decided
and published, and there were only one admitter.  A request of a reserved class starts while its
entitlement holds no more than its floor; any other starts while slots are free, surplus classes
only while the pool's headroom stays free.  Nothing else is looked at: throughput, KV cache, shares
between equals, debt.
"""

from __future__ import annotations

from typing import Final

from schemas.pools import Pool
from schemas.units import TokenCounts
from simulation.policy import Ask, Denied, Ended, Granted, Kept, Unknown, Usage

RETRY_AFTER_US: Final = 1_000_000
LIMIT: Final = "limit"
FULL: Final = "full"


class Central:
    """The policy; see the module."""

    name = "central"
    doors = 1

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._slots = 0
        self._running: dict[str, Ask] = {}
        self._held = dict.fromkeys(pool.entitlements, 0)

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted | Denied:
        reason = self._refusal(ask)
        if reason is not None:
            return Denied(reason=reason, retry_after_us=RETRY_AFTER_US)
        self._running[ask.request_id] = ask
        self._held[ask.entitlement] += ask.n
        served_class = self._pool.entitlements[ask.entitlement].service_class
        return Granted(handle=ask.request_id, door=door, served_class=served_class)

    def renew(self, handle: str, *, door: int, output_tokens: int, now_us: int) -> Kept | Unknown:
        return Kept(handle=handle, door=door, renew_in_us=0)

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended:
        ask = self._running.pop(handle, None)
        if ask is None:
            return Ended(first=False)
        self._held[ask.entitlement] -= ask.n
        return Ended(first=True)

    def meter(self, usage: Usage, *, now_us: int) -> None:
        """Nothing depends on usage."""

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        self._slots = ready * self._pool.per_replica.slots

    def replicas_wanted(self, *, now_us: int) -> int | None:
        return None

    def next_event_us(self) -> int | None:
        return None

    def advance(self, *, now_us: int) -> None:
        """There is nothing to do."""

    def _refusal(self, ask: Ask) -> str | None:
        entitlement = self._pool.entitlements[ask.entitlement]
        if entitlement.service_class.is_reserved:
            within = self._held[ask.entitlement] + ask.n <= entitlement.floor.slots
            return None if within else LIMIT
        kept = 0 if entitlement.service_class.has_baseline else self._pool.headroom_slots
        return None if sum(self._held.values()) + ask.n <= self._slots - kept else FULL
