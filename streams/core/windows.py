"""Windows: totals of one entitlement by event time, while the ledger owns them.

Windows are of a second (``windowSeconds``), a minute and an hour.  One is owned until its lateness
has passed on the broker's clock; an event that comes later still counts in the totals, and its
window is ordered from history instead (``Rollup.order``).  Rollups carry absolute values, so
repeating one is harmless; they are published when the broker's clock enters a new slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from schemas.ledger import WindowEntry, WindowTotals
from schemas.pools import Pool
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.specs import Metering
from schemas.units import US_PER_HOUR, US_PER_MINUTE, US_PER_S
from streams.core.outcome import (
    EntitlementKey,
    States,
    WindowKey,
    WindowSpan,
    key_of,
    size_of,
)

SLOTS_US: Final = (US_PER_S, 5 * US_PER_S, 60 * US_PER_S)
"""By size: windows that changed are published when the broker's clock enters the next slot."""

OPENS_US: Final = 5 * US_PER_S
"""For so long after its end a window may be opened whatever the spec said when it ended.

A window that ended before the present spec was applied may have been closed under a shorter
lateness, and would begin at nothing: after this its first event is ordered from history.  No
lateness is shorter.
"""

UNSPECIFIED: Final = Metering()
"""How long windows are kept when their pool is no longer specified."""


def lengths_of(metering: Metering) -> tuple[int, int, int]:
    """Return the lengths of the windows that an event counts in, in microseconds."""
    return (metering.window_seconds * US_PER_S, US_PER_MINUTE, US_PER_HOUR)


def lateness_us(window_us: int, pool: Pool | None) -> int:
    """Return for how long after its end a window stays open."""
    metering = UNSPECIFIED if pool is None else pool.metering
    seconds = (
        metering.lateness_second_seconds,
        metering.lateness_minute_seconds,
        metering.lateness_hour_seconds,
    )
    return seconds[size_of(window_us)] * US_PER_S


def is_open(span: WindowSpan, *, clock_us: int, pool: Pool | None) -> bool:
    """Say whether the ledger owns the window at the broker's time ``clock_us``."""
    window_us, start_us = span
    return clock_us < start_us + window_us + lateness_us(window_us, pool)


def may_open(span: WindowSpan, *, clock_us: int, pool: Pool | None) -> bool:
    """Say whether the ledger may begin to own a window that it does not hold."""
    ends_us = span[0] + span[1]
    return clock_us < ends_us + OPENS_US or (pool is not None and ends_us > pool.applied_us)


def closed_windows(
    states: States,
    touched: Iterable[WindowKey],
    *,
    clock_us: int,
    pools: Mapping[str, Pool],
) -> Iterator[WindowKey]:
    """Yield the windows that the ledger does not own any more."""
    candidates: dict[WindowSpan, dict[EntitlementKey, None]] = {}
    for span, owners in states.windows.items():
        if span[0] + span[1] <= clock_us:
            candidates.setdefault(span, {}).update(dict.fromkeys(owners))
    for span, owner in touched:
        candidates.setdefault(span, {})[owner] = None
    for span, keys in candidates.items():
        open_pools: dict[str, bool] = {}
        for owner in keys:
            name = owner[0]
            if name not in open_pools:
                open_pools[name] = is_open(span, clock_us=clock_us, pool=pools.get(name))
            if not open_pools[name]:
                yield span, owner


def slots_entered(before_us: int, clock_us: int) -> tuple[int, ...]:
    """Return the sizes whose slot is another one now."""
    return tuple(
        size for size, slot in enumerate(SLOTS_US) if before_us // slot != clock_us // slot
    )


def rollup_of(entry: WindowEntry) -> Rollup:
    """Return the window as history is told of it."""
    return Rollup(
        pool=entry.pool,
        entitlement=entry.entitlement,
        tenant=entry.tenant,
        model=entry.model,
        window_start_us=entry.start_us,
        window_us=entry.window_us,
        tokens=entry.totals.tokens,
        events=entry.totals.events,
        requests=entry.totals.requests,
        demoted_tokens=entry.totals.demoted_tokens,
        version=entry.position,
    )


def order_of(
    span: WindowSpan, owner: EntitlementKey, *, tenant: str, model: str, position: Position
) -> Rollup:
    """Return the order to recompute a window that the ledger no longer owns."""
    pool, entitlement = owner
    return Rollup(
        pool=pool,
        entitlement=entitlement,
        tenant=tenant,
        model=model,
        window_start_us=span[1],
        window_us=span[0],
        version=position,
        order=True,
    )


def sliding(states: States, owner: EntitlementKey, *, until_us: int, span_us: int) -> WindowTotals:
    """Return the sum over the second windows that lie in ``[until_us - span_us, until_us)``.

    Exact to a window; only windows that the ledger still owns are in it.
    """
    total = WindowTotals()
    for (window_us, start_us), owners in states.windows.items():
        inside = until_us - span_us <= start_us and start_us + window_us <= until_us
        if inside and size_of(window_us) == 0 and owner in owners:
            total += owners[owner].totals
    return total


def changed_since(states: States, rolled: tuple[Position, ...] | None) -> Iterator[WindowKey]:
    """Yield the windows that changed since they were published, by what the partition says."""
    for entry in states.all_windows():
        if rolled is None or entry.position > rolled[size_of(entry.window_us)]:
            yield key_of(entry)
