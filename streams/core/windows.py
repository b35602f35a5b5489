"""Windows: totals of one entitlement in one minute of event time, while the ledger owns it.

A minute is owned until its lateness has passed on the broker's clock.  An event that comes later
still counts in the totals; its window is ordered from history instead (``Rollup.order``).
Rollups carry absolute values, so repeating one is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.ledger import MinuteEntry, WindowTotals
from schemas.pools import Pool
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.units import US_PER_S
from schemas.usage import UsageEvent

MINUTE_US: Final = 60 * US_PER_S
LATENESS_DEFAULT_US: Final = 600 * US_PER_S
"""How long a minute is kept when its pool is no longer specified."""

MinuteKey = tuple[str, str, int]
"""Pool, entitlement, start of the minute."""


def minute_of(event_us: int) -> int:
    """Return the start of the minute that holds the instant."""
    return event_us - event_us % MINUTE_US


def lateness_of(pool: Pool | None) -> int:
    """Return for how many microseconds after its end a minute of the pool stays open."""
    if pool is None:
        return LATENESS_DEFAULT_US
    return pool.metering.lateness_minute_seconds * US_PER_S


def is_open(minute_us: int, *, stored_us: int, lateness_us: int) -> bool:
    """Say whether the ledger owns the minute at the broker's time ``stored_us``."""
    return stored_us < minute_us + MINUTE_US + lateness_us


def increment_of(event: UsageEvent) -> WindowTotals:
    """Return what one event adds to any window that holds it."""
    counts = event.data.counts
    return WindowTotals(
        tokens=counts,
        events=1,
        requests=int(event.data.final),
        demoted_tokens=counts.total if event.data.demoted else 0,
    )


def with_event(
    entry: MinuteEntry | None, event: UsageEvent, *, tenant: str, model: str, position: Position
) -> MinuteEntry:
    """Return the minute with the event added."""
    data = event.data
    if entry is None:
        entry = MinuteEntry(
            pool=data.pool,
            entitlement=data.entitlement,
            minute_us=minute_of(event.event_us),
            position=position,
            totals=WindowTotals(),
        )
    return msgspec.structs.replace(
        entry,
        tenant=tenant,
        model=model,
        position=position,
        totals=entry.totals + increment_of(event),
    )


def rollup_of(entry: MinuteEntry) -> Rollup:
    """Return the minute as history is told of it."""
    return Rollup(
        pool=entry.pool,
        entitlement=entry.entitlement,
        tenant=entry.tenant,
        model=entry.model,
        window_start_us=entry.minute_us,
        window_us=MINUTE_US,
        tokens=entry.totals.tokens,
        events=entry.totals.events,
        requests=entry.totals.requests,
        demoted_tokens=entry.totals.demoted_tokens,
        version=entry.position,
    )


def order_of(event: UsageEvent, *, tenant: str, model: str, position: Position) -> Rollup:
    """Return the order to recompute a minute that the ledger no longer owns."""
    return Rollup(
        pool=event.data.pool,
        entitlement=event.data.entitlement,
        tenant=tenant,
        model=model,
        window_start_us=minute_of(event.event_us),
        window_us=MINUTE_US,
        version=position,
        order=True,
    )


def latest_orders(orders: Iterable[Rollup]) -> list[Rollup]:
    """Return one order per window: the one with the highest version."""
    latest: dict[MinuteKey, Rollup] = {}
    for order in orders:
        latest[(order.pool, order.entitlement, order.window_start_us)] = order
    return list(latest.values())
