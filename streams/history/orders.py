"""Orders: windows that the ledger no longer keeps are counted again from the accepted rows.

An order names a window and a position.  Once rows and judgement have passed the position, the
window is counted over the accepted rows up to it, and the totals get that position as version: a
later total of the same window wins over them, an earlier one loses, whichever is written first.  So
counting a window twice, or by two processes, is harmless.

Open orders are kept in memory, at most ``ORDERS_MAX``; what stands in ``rollup_orders`` beside them
is read at the start, after a change of the assignment and when the memory has been too small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from clickhouse_connect.driver.client import Client

from streams.history.usage_rows import RollupOrderRow, RollupRow

ORDERS_MAX: Final = 10_000
"""Open orders in memory; the others wait in ``rollup_orders``."""
WINDOWS_PER_QUERY: Final = 1_000
"""Windows that one query counts."""

Window = tuple[str, str, int, int]
"""Pool, entitlement, start, length in microseconds: windows of the same rows are neighbours."""

_KEY: Final = "window_us, pool, entitlement, window_start"

_OPEN: Final = f"""
SELECT
    orders.pool, orders.entitlement, orders.tenant, orders.model, orders.window_us,
    toUnixTimestamp64Micro(orders.window_start),
    orders.epoch, orders.partition, orders.record_offset, orders.record_index, orders.version
FROM (SELECT * FROM rollup_orders FINAL) AS orders
LEFT JOIN
(
    SELECT {_KEY}, version AS counted, 1 AS found
    FROM rollups FINAL
    WHERE ({_KEY}) IN (SELECT {_KEY} FROM rollup_orders)
) AS totals
ON orders.window_us = totals.window_us AND orders.pool = totals.pool
    AND orders.entitlement = totals.entitlement AND orders.window_start = totals.window_start
WHERE totals.found = 0 OR totals.counted < orders.version
ORDER BY orders.version
LIMIT {ORDERS_MAX}
"""

_JUDGED: Final = "SELECT epoch, partition, counted_through FROM judged"

_WINDOWS: Final = """
SELECT
    arrayJoin({windows:Array(Tuple(
        pool String, entitlement String, tenant String, model String, window_us Int64,
        start_us Int64, epoch UInt64, partition UInt32, record_offset UInt64, record_index UInt32,
        version UInt128
    ))}) AS each,
    each.pool AS pool, each.entitlement AS entitlement, each.window_us AS window_us,
    each.start_us AS start_us
"""

_HOURS: Final = f"""
SELECT pool, entitlement, arrayJoin([
    toStartOfHour(fromUnixTimestamp64Micro(start_us, 'UTC')),
    toStartOfHour(fromUnixTimestamp64Micro(start_us + window_us - 1, 'UTC'))
])
FROM ({_WINDOWS})
"""

_COUNT: Final = f"""
WITH
    usage.found AND (usage.epoch, usage.record_offset, usage.record_index)
        <= (each.epoch, each.record_offset, each.record_index) AS counted
SELECT
    pool, entitlement, any(each.tenant), any(each.model), window_us, start_us,
    sumIf(usage.input_tokens, counted), sumIf(usage.cache_read_tokens, counted),
    sumIf(usage.cache_write_tokens, counted), sumIf(usage.output_tokens, counted),
    sumIf(usage.reasoning_tokens, counted),
    countIf(counted), countIf(counted AND usage.final),
    sumIf(
        usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
            + usage.output_tokens,
        counted AND usage.demoted
    ),
    any(each.epoch), any(each.partition), any(each.record_offset), any(each.record_index),
    any(each.version)
FROM ({_WINDOWS}) AS windows
LEFT JOIN
(
    SELECT
        pool, entitlement, arrayJoin({{lengths_us:Array(Int64)}}) AS window_us,
        intDiv(toUnixTimestamp64Micro(event_at), window_us) * window_us AS start_us,
        1 AS found, epoch, record_offset, record_index,
        input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
        final, demoted
    FROM usage_accepted
    WHERE (pool, entitlement, toStartOfHour(event_at)) IN ({_HOURS})
        AND (pool, entitlement, window_us, start_us)
            IN (SELECT pool, entitlement, window_us, start_us FROM ({_WINDOWS}))
) AS usage
USING (pool, entitlement, window_us, start_us)
GROUP BY pool, entitlement, window_us, start_us
"""


class Orders:
    """The open orders that this process knows of."""

    def __init__(self) -> None:
        self._open: dict[Window, RollupOrderRow] = {}
        self._others = True
        """Whether ``rollup_orders`` may hold open ones that are not in memory."""

    @property
    def waiting(self) -> int:
        """Orders in memory, which are not counted yet."""
        return len(self._open)

    @property
    def may_wait(self) -> bool:
        """Whether there may be anything to count."""
        return bool(self._open) or self._others

    def take(self, orders: Iterable[RollupOrderRow]) -> None:
        """Remember orders that were written; the highest position of a window stands."""
        for order in orders:
            known = self._open.get(_window(order))
            if known is None and len(self._open) >= ORDERS_MAX:
                self._others = True
            elif known is None or known.version < order.version:
                self._open[_window(order)] = order

    def look_again(self) -> None:
        """Ask the table before the next count: others may have written orders there."""
        self._others = True

    def recount(self, client: Client) -> int:
        """Count every window whose order is ready; return how many were counted."""
        if self._others and len(self._open) < ORDERS_MAX:
            found = [RollupOrderRow(*row) for row in client.query(_OPEN).result_rows]
            self._others = len(found) >= ORDERS_MAX
            self.take(found)
        ready = self._ready(client)
        for orders in _chunks(ready, WINDOWS_PER_QUERY):
            counted = client.query(_COUNT, parameters=_parameters(orders)).result_rows
            client.insert("rollups", counted, column_names=RollupRow._fields)
            for order in orders:
                self._open.pop(_window(order), None)
        return len(ready)

    def _ready(self, client: Client) -> list[RollupOrderRow]:
        """Return the orders whose position rows and judgement have passed, neighbours together."""
        if not self._open:
            return []
        counted = {(row[0], row[1]): row[2] for row in client.query(_JUDGED).result_rows}
        return [
            order
            for _, order in sorted(self._open.items())
            if counted.get((order.epoch, order.partition), -1) >= order.record_offset
        ]


def _window(order: RollupOrderRow) -> Window:
    return order.pool, order.entitlement, order.window_start, order.window_us


def _parameters(orders: Sequence[RollupOrderRow]) -> dict[str, object]:
    lengths = {order.window_us for order in orders}
    return {"windows": [tuple(order) for order in orders], "lengths_us": sorted(lengths)}


def _chunks(orders: Sequence[RollupOrderRow], size: int) -> Iterator[list[RollupOrderRow]]:
    remaining = iter(orders)
    while chunk := list(islice(remaining, size)):
        yield chunk
