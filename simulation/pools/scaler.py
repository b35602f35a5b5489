"""Scaler: how many replicas the product's autoscaler asks for.

The rule is ``streams.core.scaling``; its demand is a quantile over the ticks of the pool's scaling
window, as the process has it while ClickHouse is away.  It is evaluated every ``INTERVAL_US``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from schemas.pools import Pool
from schemas.positions import NO_VERSION
from schemas.ticks import Tick
from schemas.units import PPM, US_PER_S, Resources
from streams.core.scaling import Memory, decide, needed, quantiles

INTERVAL_US: Final = 5 * US_PER_S
TICKS_MAX: Final = 3_600


@dataclass
class Scaler:
    """One autoscaler, and what it remembers."""

    pool: Pool
    _ticks: deque[Tick] = field(default_factory=lambda: deque(maxlen=TICKS_MAX))
    _memory: Memory | None = None
    _next_us: int = 0
    _desired: int | None = None

    def see(self, tick: Tick) -> None:
        """Keep a tick; one of a former owner says nothing new."""
        if tick.version <= (self._ticks[-1].version if self._ticks else NO_VERSION):
            return
        self._ticks.append(tick)
        oldest_us = tick.inputs.at_us - self.pool.scaling.window_seconds * US_PER_S
        while self._ticks[0].inputs.at_us <= oldest_us:
            self._ticks.popleft()

    def wanted(self, now_us: int) -> int | None:
        """Return the replicas that stand ordered; None before the first tick."""
        if self._ticks and now_us >= self._next_us:
            self._next_us = now_us + INTERVAL_US
            self._evaluate(self._memory or Memory(started_us=now_us), now_us)
        return self._desired

    def _evaluate(self, memory: Memory, now_us: int) -> None:
        inputs = self._ticks[-1].inputs
        order, self._memory = decide(
            memory,
            needed(self.pool, self._demand(), per_replica=inputs.per_replica),
            pool=self.pool,
            current=inputs.replicas_ready + inputs.replicas_starting,
            at_us=now_us,
        )
        self._desired = order.desired

    def _demand(self) -> dict[str, Resources]:
        """Return the quantile of each entitlement's demand over the window."""
        demands: dict[str, list[Resources]] = {}
        for tick in self._ticks:
            for entry in tick.inputs.entitlements:
                demands.setdefault(entry.entitlement, []).append(entry.demand)
        quantile_ppm = int(self.pool.scaling.quantile * PPM)
        return {
            uid: quantiles(values, quantile_ppm=quantile_ppm) for uid, values in demands.items()
        }
