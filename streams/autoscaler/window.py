"""The window: the last ticks of each pool in memory, for the time that ClickHouse is away.

Bounded twice, by the pool's scaling window in time and by a number of ticks.  A tick that arrives
again or out of order changes nothing: ticks are kept by version.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.positions import Version
from schemas.ticks import Tick
from schemas.units import Resources
from streams.core.scaling import quantiles


@dataclass(frozen=True)
class Seen:
    """What is kept of a tick."""

    version: Version
    at_us: int
    ready: int
    starting: int
    per_replica: Resources
    spec_version: int
    demand: Mapping[str, Resources]


class Window:
    """The ticks of one pool, oldest first."""

    def __init__(self, *, ticks_max: int) -> None:
        self.received_us: int | None = None
        """When the last live tick came, by our own clock; None: only old ones were read."""
        self._ticks_max = ticks_max
        self._ticks: OrderedDict[Version, Seen] = OrderedDict()

    def add(self, tick: Tick, *, window_us: int, received_us: int | None) -> None:
        """Keep a tick, and drop those that are older than the window before it."""
        newest = self.newest
        if newest is not None and tick.version <= newest.version:
            return
        self.received_us = received_us
        self._ticks[tick.version] = _seen(tick)
        while len(self._ticks) > self._ticks_max or self._oldest_us < tick.inputs.at_us - window_us:
            self._ticks.popitem(last=False)

    @property
    def newest(self) -> Seen | None:
        """The tick with the highest version."""
        return self._ticks[next(reversed(self._ticks))] if self._ticks else None

    def demand(
        self, *, start_us: int, end_us: int, quantile_ppm: int
    ) -> tuple[dict[str, Resources], int]:
        """Return demand by entitlement in ``[start_us, end_us)`` and the number of ticks seen."""
        demands: dict[str, list[Resources]] = {}
        seen = [tick for tick in self._ticks.values() if start_us <= tick.at_us < end_us]
        for tick in seen:
            for entitlement, demand in tick.demand.items():
                demands.setdefault(entitlement, []).append(demand)
        return {
            entitlement: quantiles(values, quantile_ppm=quantile_ppm)
            for entitlement, values in demands.items()
        }, len(seen)

    @property
    def _oldest_us(self) -> int:
        return self._ticks[next(iter(self._ticks))].at_us


def _seen(tick: Tick) -> Seen:
    inputs = tick.inputs
    return Seen(
        version=tick.version,
        at_us=inputs.at_us,
        ready=inputs.replicas_ready,
        starting=inputs.replicas_starting,
        per_replica=inputs.per_replica,
        spec_version=inputs.spec_version,
        demand={entry.entitlement: entry.demand for entry in inputs.entitlements},
    )
