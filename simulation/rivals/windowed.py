"""Windowed reserve: limits per tenant in a lazy fixed window of 60 s, an estimate reserved first.

A small model in the style of LiteLLM's proxy limiter v3 (``parallel_request_limiter_v3.py`` since
pull request BerriAI/litellm#27001, May 2026), not that program and no claim about its other parts:

* tokens and requests per minute and parallel requests per tenant; nothing knows the pool's capacity
  or the other tenants, so nobody's idle room is lent and nobody is held back for somebody else;
* a window begins with the first request after the last one ended (lazy) and its counters with it;
* a request reserves input + ``max_tokens`` before it starts and at its end adds (used - reserved)
  to the counter of *whichever window runs then*: one that outlives its window refunds into the
  next, which admits that much more than the limit.  Where no window runs, the refund is lost;
* the doors share one store (Redis), or each counts for itself (Redis lost): ``shared``;
* Retry-After is the end of the window.

Limits come from the entitlements: the baseline where the class has one, else the ceiling, cut to
the pool's smallest capacity.  Kinder than the original: the count of parallel requests is not
forgotten at the end of a window; a request that never settles is, after ``LOST_US``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.pools import Entitlement, Pool
from schemas.units import US_PER_S, TokenCounts
from simulation.policy import Ask, Denied, Ended, Granted, Kept, Unknown, Usage
from simulation.rivals.floors import FloorWatch

WINDOW_S: Final = 60
WINDOW_US: Final = WINDOW_S * US_PER_S
LOST_US: Final = 10 * WINDOW_US
"""A request that has not settled by then no longer counts as parallel."""
TOKENS: Final = "tokens_per_minute"
REQUESTS: Final = "requests_per_minute"
PARALLEL: Final = "parallel_requests"


@dataclass(frozen=True, kw_only=True)
class WindowLimits:
    """One tenant's limits."""

    tokens_per_minute: int
    parallel: int
    requests_per_minute: int | None = None
    """None: no limit."""


@dataclass(slots=True)
class _Window:
    began_us: int | None = None
    tokens: int = 0
    """May fall below 0 by a refund."""
    requests: int = 0

    def is_open(self, now_us: int) -> bool:
        return self.began_us is not None and now_us - self.began_us < WINDOW_US

    def open(self, now_us: int) -> None:
        self.began_us, self.tokens, self.requests = now_us, 0, 0


@dataclass(slots=True)
class _Store:
    """Counters of one Redis, or of one door's memory."""

    windows: dict[str, _Window]
    parallel: dict[str, dict[str, int]] = field(default_factory=dict)
    """By tenant: handle -> when it is forgotten."""


@dataclass(frozen=True, slots=True)
class _Reserved:
    ask: Ask
    tokens: int
    store: _Store


class WindowedReserve:
    """The policy; see the module."""

    name = "windowed"

    def __init__(
        self,
        pool: Pool,
        *,
        doors: int = 1,
        shared: bool = True,
        limits: Mapping[str, WindowLimits] | None = None,
    ) -> None:
        self.doors = doors
        self._pool = pool
        self._limits = derived_limits(pool) if limits is None else dict(limits)
        stores = 1 if shared else doors
        self._stores = [_Store({uid: _Window() for uid in self._limits}) for _ in range(stores)]
        self._reserved: dict[str, _Reserved] = {}
        self._floors = FloorWatch(pool)

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted | Denied:
        store = self._stores[door % len(self._stores)]
        window = store.windows[ask.entitlement]
        if not window.is_open(now_us):
            window.open(now_us)
        reason = self._shortage(ask, store, now_us=now_us)
        if reason:
            assert window.began_us is not None
            return Denied(
                reason=reason,
                retry_after_us=window.began_us + WINDOW_US - now_us,
                inside_floor=self._floors.is_inside(ask, now_us=now_us),
            )
        self._take(ask, store, now_us=now_us)
        service_class = self._pool.entitlements[ask.entitlement].service_class
        return Granted(handle=ask.request_id, door=door, served_class=service_class)

    def _shortage(self, ask: Ask, store: _Store, *, now_us: int) -> str:
        """Return which limit the request would pass; empty when none."""
        limits, window = self._limits[ask.entitlement], store.windows[ask.entitlement]
        parallel = store.parallel.setdefault(ask.entitlement, {})
        for handle in [each for each, forgotten_us in parallel.items() if forgotten_us <= now_us]:
            del parallel[handle]
        if len(parallel) >= limits.parallel:
            return PARALLEL
        most = limits.requests_per_minute
        if most is not None and window.requests >= most:
            return REQUESTS
        if window.tokens + _estimate(ask) > limits.tokens_per_minute:
            return TOKENS
        return ""

    def _take(self, ask: Ask, store: _Store, *, now_us: int) -> None:
        window, tokens = store.windows[ask.entitlement], _estimate(ask)
        window.tokens += tokens
        window.requests += 1
        store.parallel[ask.entitlement][ask.request_id] = now_us + LOST_US
        self._reserved[ask.request_id] = _Reserved(ask, tokens, store)
        self._floors.admitted(ask, now_us=now_us)

    def renew(self, handle: str, *, door: int, output_tokens: int, now_us: int) -> Kept:
        return Kept(handle=handle, door=door, renew_in_us=0)

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended | Unknown:
        """Refund into the window that runs now, whenever the reservation was made.

        In one that is over the refund is lost: the next begins at 0.
        """
        reserved = self._reserved.pop(handle, None)
        if reserved is None:
            return Unknown()
        uid = reserved.ask.entitlement
        reserved.store.parallel[uid].pop(handle, None)
        reserved.store.windows[uid].tokens += used.total - reserved.tokens
        self._floors.ended(reserved.ask, used, now_us=now_us)
        return Ended(first=True)

    def meter(self, usage: Usage, *, now_us: int) -> None:
        """Limits are settled by the proxy that served the request; usage events go elsewhere."""

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        """Limits are static: they do not know how many replicas there are."""

    def replicas_wanted(self, *, now_us: int) -> int | None:
        return None

    def next_event_us(self) -> int | None:
        return None

    def advance(self, *, now_us: int) -> None:
        """There is nothing to do."""


def _estimate(ask: Ask) -> int:
    """Return what is reserved: nobody knows beforehand what will come from a cache."""
    return ask.input_tokens + ask.n * ask.max_tokens


def derived_limits(pool: Pool) -> dict[str, WindowLimits]:
    """Return the limits that an operator would write for these entitlements."""
    return {uid: _limits_of(each, pool) for uid, each in pool.entitlements.items()}


def _limits_of(entitlement: Entitlement, pool: Pool) -> WindowLimits:
    capacity = pool.per_replica.times(pool.replicas_min)
    has_baseline = entitlement.service_class.has_baseline
    most = entitlement.baseline if has_baseline else entitlement.ceiling.at_most(capacity)
    return WindowLimits(tokens_per_minute=most.tokens_per_s * WINDOW_S, parallel=most.slots)
