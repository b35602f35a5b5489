"""Stats: how a replay is going, counted where it happens and read as snapshots by the live view."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.usage import UsageEvent
from simulation.percentiles import p99

LIVE_TTFT_MAX: Final = 1_000
"""The live percentile looks at this many of the latest first tokens of a class."""


@dataclass(frozen=True, kw_only=True)
class EntitlementSnapshot:
    """One entitlement so far."""

    pool: str
    entitlement: str
    service_class: ServiceClass
    arrived: int
    admitted: int
    demoted: int
    """Of those, served as spot."""
    completed: int
    in_flight: int
    """Admitted and not ended."""
    retrying: int
    """Refused and waiting to come back."""
    refused: Mapping[str, int]
    """Attempts by reason."""
    refused_requests: int
    """Requests that were refused at least once."""
    lost: Mapping[str, int]
    """Requests that gave up, by the last reason."""
    evicted: int
    aborted: int
    tokens_emitted: int


@dataclass(frozen=True, kw_only=True)
class PoolSnapshot:
    """One pool's simulated engines now."""

    pool: str
    ready: int = 0
    starting: int = 0
    draining: int = 0
    running: int = 0
    waiting: int = 0
    """Requests in the engines' queue."""


@dataclass(frozen=True, kw_only=True)
class ReplaySnapshot:
    """A replay at one instant."""

    run_id: str
    sent: int
    """Arrivals that have come up, whatever became of them."""
    rows: int | None
    offset_us: int
    """How far the trace has come, in its own time."""
    span_us: int | None
    in_flight: int
    """Requests that have not ended, waiting and retrying ones included."""
    not_sent: int
    """Arrivals beyond ``in_flight_max``."""
    unmapped: int
    """Arrivals whose tenant maps to no entitlement."""
    bad_rows: int
    late_us_max: int
    """How late the replayer itself was with an arrival, at worst."""
    events_emitted: int
    events_undelivered: int
    tokens_emitted: int
    settlements_failed: int
    ttft_p99_us: Mapping[ServiceClass, int | None]
    """Of the latest first tokens, by class."""
    pools: Sequence[PoolSnapshot]
    entitlements: Sequence[EntitlementSnapshot]


@dataclass
class _Counts:
    pool: str
    service_class: ServiceClass
    arrived: int = 0
    admitted: int = 0
    demoted: int = 0
    completed: int = 0
    in_flight: int = 0
    retrying: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refused_requests: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    evicted: int = 0
    aborted: int = 0
    tokens_emitted: int = 0
    ttft_us: array[int] = field(default_factory=lambda: array("q"))


class ReplayStats:
    """Counters of one replay; also the listener of its emitter."""

    def __init__(self, *, run_id: str, rows: int | None = None, span_us: int | None = None) -> None:
        self.run_id = run_id
        self.rows = rows
        self.span_us = span_us
        self.sent = 0
        self.offset_us = 0
        self.in_flight = 0
        self.not_sent = 0
        self.unmapped = 0
        self.bad_rows = 0
        self.late_us_max = 0
        self.events_emitted = 0
        self.events_undelivered = 0
        self.settlements_failed = 0
        self._counts: dict[str, _Counts] = {}
        self._live_ttft_us: dict[ServiceClass, deque[int]] = {}
        self._pools: dict[str, PoolSnapshot] = {}

    def begin(self, pools: Sequence[Pool]) -> None:
        """Make room for every entitlement."""
        for pool in pools:
            self._pools[pool.name] = PoolSnapshot(pool=pool.name)
            for uid, entitlement in pool.entitlements.items():
                self._counts[uid] = _Counts(pool.name, entitlement.service_class)
                self._live_ttft_us.setdefault(
                    entitlement.service_class, deque(maxlen=LIVE_TTFT_MAX)
                )

    def arrived(self, uid: str) -> None:
        """A request of this entitlement has come up."""
        self._counts[uid].arrived += 1

    def admitted(self, uid: str, *, demoted: bool = False) -> None:
        """It may start, or may start as spot."""
        self._counts[uid].admitted += 1
        self._counts[uid].demoted += demoted
        self._counts[uid].in_flight += 1

    def refused(self, uid: str, reason: str, *, first: bool) -> None:
        """An attempt was refused."""
        self._counts[uid].refused[reason] += 1
        self._counts[uid].refused_requests += first

    def retrying(self, uid: str, change: int) -> None:
        """A refused request begins (1) or ceases (-1) to wait."""
        self._counts[uid].retrying += change

    def lost(self, uid: str, reason: str) -> None:
        """A request gave up."""
        self._counts[uid].lost[reason] += 1

    def first_token(self, uid: str, ttft_us: int) -> None:
        """An admitted request got its first token so long after it asked."""
        counts = self._counts[uid]
        counts.ttft_us.append(ttft_us)
        self._live_ttft_us[counts.service_class].append(ttft_us)

    def ended(self, uid: str, outcome: str) -> None:
        """An admitted request ended."""
        counts = self._counts[uid]
        counts.in_flight -= 1
        counts.completed += outcome == "ok"
        counts.evicted += outcome == "evicted"
        counts.aborted += outcome == "aborted"

    def settled(self, *, reached: bool) -> None:
        """An admitted request's settlement reached an admitter, or none."""
        self.settlements_failed += not reached

    def delivered(self, event: UsageEvent) -> None:
        """The broker has acknowledged an event."""
        self.events_emitted += 1
        self._counts[event.data.entitlement].tokens_emitted += event.data.counts.total

    def undelivered(self, event: UsageEvent, error: Exception) -> None:
        """An event was given up."""
        self.events_undelivered += 1

    def pool_is(self, pool: PoolSnapshot) -> None:
        """A pool's engines have changed."""
        self._pools[pool.pool] = pool

    def ttft_us_by_entitlement(self) -> Mapping[str, Sequence[int]]:
        """Return every time to first token, by entitlement."""
        return {uid: counts.ttft_us for uid, counts in self._counts.items()}

    def snapshot(self) -> ReplaySnapshot:
        """Return everything as it is now."""
        return ReplaySnapshot(
            run_id=self.run_id,
            sent=self.sent,
            rows=self.rows,
            offset_us=self.offset_us,
            span_us=self.span_us,
            in_flight=self.in_flight,
            not_sent=self.not_sent,
            unmapped=self.unmapped,
            bad_rows=self.bad_rows,
            late_us_max=self.late_us_max,
            events_emitted=self.events_emitted,
            events_undelivered=self.events_undelivered,
            tokens_emitted=sum(counts.tokens_emitted for counts in self._counts.values()),
            settlements_failed=self.settlements_failed,
            ttft_p99_us={kind: p99(values) for kind, values in self._live_ttft_us.items()},
            pools=tuple(self._pools.values()),
            entitlements=tuple(_snapshot(uid, counts) for uid, counts in self._counts.items()),
        )


def _snapshot(uid: str, counts: _Counts) -> EntitlementSnapshot:
    return EntitlementSnapshot(
        pool=counts.pool,
        entitlement=uid,
        service_class=counts.service_class,
        arrived=counts.arrived,
        admitted=counts.admitted,
        demoted=counts.demoted,
        completed=counts.completed,
        in_flight=counts.in_flight,
        retrying=counts.retrying,
        refused=dict(counts.refused),
        refused_requests=counts.refused_requests,
        lost=dict(counts.lost),
        evicted=counts.evicted,
        aborted=counts.aborted,
        tokens_emitted=counts.tokens_emitted,
    )
