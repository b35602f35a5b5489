"""Orders: windows that the ledger no longer keeps are counted again from the accepted rows.

An order names a window and a position.  Once rows and judgement have passed the position, the
window is counted over the accepted rows up to it, and the totals get that position as version: a
later total of the same window wins over them, an earlier one loses.
"""

from __future__ import annotations

from typing import Any, Final

from clickhouse_connect.driver.client import Client

ORDERS_MAX: Final = 1_000
"""Orders that one call looks at; the others wait for the next."""

_KEY: Final = "window_us, pool, entitlement, window_start"

_OPEN: Final = f"""
SELECT
    orders.pool AS pool,
    orders.entitlement AS entitlement,
    orders.window_us AS window_us,
    toUnixTimestamp64Micro(orders.window_start) AS start_us,
    orders.version AS version,
    judged.counted_through >= toInt64(orders.record_offset) AS ready
FROM (SELECT * FROM rollup_orders FINAL) AS orders
LEFT JOIN judged ON judged.epoch = orders.epoch AND judged.partition = orders.partition
WHERE (orders.window_us, orders.pool, orders.entitlement, orders.window_start, orders.version)
    NOT IN
    (
        SELECT {_KEY}, done.version
        FROM (SELECT * FROM rollup_orders FINAL) AS done
        INNER JOIN (SELECT {_KEY}, version AS counted FROM rollups FINAL) AS totals
            USING ({_KEY})
        WHERE counted >= done.version
    )
ORDER BY orders.version
LIMIT {ORDERS_MAX}
"""

_RECOUNT: Final = f"""
INSERT INTO rollups
(
    pool, entitlement, tenant, model, window_us, window_start, input_tokens, cache_read_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, events, requests, demoted_tokens,
    epoch, partition, record_offset, record_index, version
)
SELECT
    any(orders.pool), any(orders.entitlement), any(orders.tenant), any(orders.model),
    any(orders.window_us), any(orders.window_start),
    sum(usage.input_tokens), sum(usage.cache_read_tokens), sum(usage.cache_write_tokens),
    sum(usage.output_tokens), sum(usage.reasoning_tokens),
    countIf(usage.pool != ''), countIf(usage.pool != '' AND usage.final),
    sumIf(
        usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
            + usage.output_tokens,
        usage.demoted
    ),
    any(orders.epoch), any(orders.partition), any(orders.record_offset),
    any(orders.record_index), any(orders.version)
FROM
(
    SELECT * FROM rollup_orders FINAL
    WHERE ({_KEY}) = (
        {{window_us:Int64}}, {{pool:String}}, {{entitlement:String}},
        fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
    )
) AS orders
LEFT JOIN
(
    SELECT * FROM usage_accepted
    WHERE pool = {{pool:String}} AND entitlement = {{entitlement:String}}
        AND event_at >= fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
        AND event_at < fromUnixTimestamp64Micro({{start_us:Int64}} + {{window_us:Int64}}, 'UTC')
) AS usage
ON orders.pool = usage.pool
WHERE (usage.epoch, usage.record_offset, usage.record_index)
    <= (orders.epoch, orders.record_offset, orders.record_index)
"""


def recount(client: Client) -> int:
    """Count the windows again whose orders are ready; return how many orders are still open."""
    waiting = 0
    for order in client.query(_OPEN).named_results():
        if order["ready"]:
            client.command(_RECOUNT, parameters=_parameters(order))
        else:
            waiting += 1
    return waiting


def _parameters(order: dict[str, Any]) -> dict[str, Any]:
    return {name: order[name] for name in ("pool", "entitlement", "window_us", "start_us")}
