"""Compaction keeps the last totals of a window and the last order to recompute it."""

from __future__ import annotations

import msgspec

from schemas.positions import Position
from schemas.rollups import Rollup, rollup_key

TOTALS = Rollup(
    pool="chat",
    entitlement="gold",
    window_start_us=60_000_000,
    window_us=60_000_000,
    version=Position(epoch=1, partition=0, offset=7),
)


def test_later_totals_replace_earlier_ones_of_the_same_window_only() -> None:
    later = msgspec.structs.replace(
        TOTALS, version=Position(epoch=1, partition=0, offset=8), events=2
    )
    other = msgspec.structs.replace(TOTALS, window_start_us=120_000_000)

    assert rollup_key(later) == rollup_key(TOTALS) == b"chat|gold|60000000|60000000"
    assert rollup_key(other) != rollup_key(TOTALS)


def test_an_order_replaces_an_order_and_no_totals() -> None:
    order = msgspec.structs.replace(TOTALS, order=True)

    assert rollup_key(order) == b"chat|gold|60000000|60000000|order"
