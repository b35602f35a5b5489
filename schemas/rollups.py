"""Rollups: absolute totals of one entitlement in one window, on the topic ``rollups``.

A later record of the same key replaces an earlier one: ``version`` is the source position that the
totals include, so repeating one is harmless.  An *order* asks history to recompute a window that
the ledger no longer keeps, over the rows up to ``version``; it has a key of its own, so that
compaction takes neither of the two for the other.
"""

from __future__ import annotations

import msgspec

from schemas.positions import Position
from schemas.units import NO_TOKENS, TokenCounts


class Rollup(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of ``[window_start_us, window_start_us + window_us)`` by event time."""

    pool: str
    entitlement: str
    tenant: str = ""
    model: str = ""
    window_start_us: int
    window_us: int
    tokens: TokenCounts = NO_TOKENS
    events: int = 0
    requests: int = 0
    """Final events: requests that ended in this window."""
    demoted_tokens: int = 0
    version: Position
    order: bool = False
    """True: the totals are void, history recomputes the window as of ``version``."""


def rollup_key(rollup: Rollup) -> bytes:
    """Return the compaction key: pool, entitlement, window; an order does not replace totals."""
    window = f"{rollup.pool}|{rollup.entitlement}|{rollup.window_us}|{rollup.window_start_us}"
    return (f"{window}|order" if rollup.order else window).encode()
