"""Billing: what chargeback needs from ClickHouse, split wherever a price changes.

Usage comes from the accepted rows, reserved and idle throughput from the ticks; tenant, class and
price list are those of the entitlement as it is now, since usage names its own only on trust.
``chargeback`` is the door for the command line: it asks, then calls the pure core.
"""

from __future__ import annotations

from typing import Final

from schemas.connections import ClickHouseOptions
from schemas.prices import PriceBook
from schemas.units import PPM
from streams.core.chargeback import Reserved, Statement, Used, charge, segments
from streams.history.queries import TOKENS, WITHIN, asking, counts

DEFAULT_PRICE_LIST: Final = "default"

_OWNED: Final = """
    if(owner.tenant = '', rows.tenant, owner.tenant) AS billed_tenant,
    rows.pool AS billed_pool,
    if(owner.price_list = '', {price_list:String}, owner.price_list) AS billed_list"""

_OWNER: Final = """
LEFT JOIN entitlements_now AS owner
    ON owner.pool = rows.pool AND owner.entitlement = rows.entitlement"""

_USED: Final = f"""
SELECT
    {_OWNED},
    if(rows.model = '', owner.model, rows.model) AS billed_model,
    if(rows.served_class = '', owner.service_class, rows.served_class) AS billed_class,{TOKENS},
    count() AS events
FROM (SELECT * FROM usage_accepted WHERE {WITHIN}) AS rows
{_OWNER}
GROUP BY billed_tenant, billed_pool, billed_list, billed_model, billed_class
ORDER BY billed_tenant, billed_pool, billed_model, billed_class, billed_list
"""

_RESERVED: Final = f"""
SELECT
    {_OWNED},
    owner.model AS billed_model,
    rows.service_class AS billed_class,
    sum(toInt256(floor_tokens_per_s) * elapsed_us) AS reserved_ut,
    sum(toInt256(greatest(floor_tokens_per_s - served_tokens_per_s, 0)) * elapsed_us) AS idle_ut
FROM
(
    SELECT * FROM tick_entitlements FINAL
    WHERE floor_tokens_per_s > 0
        AND at >= fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
        AND at < fromUnixTimestamp64Micro({{end_us:Int64}}, 'UTC')
) AS rows
{_OWNER}
GROUP BY billed_tenant, billed_pool, billed_list, billed_model, billed_class
ORDER BY billed_tenant, billed_pool, billed_model, billed_class, billed_list
"""


def chargeback(
    options: ClickHouseOptions, book: PriceBook, *, start_us: int, end_us: int
) -> Statement:
    """Return the statement of ``[start_us, end_us)``: used, and reserved but idle beside it."""
    spans = segments(book, start_us=start_us, end_us=end_us)
    return charge(
        [row for start, end in spans for row in used(options, start_us=start, end_us=end)],
        [row for start, end in spans for row in reserved(options, start_us=start, end_us=end)],
        book,
    )


def used(options: ClickHouseOptions, *, start_us: int, end_us: int) -> list[Used]:
    """Return accepted usage by tenant, pool, model, class and price list."""
    with asking(options) as client:
        found = client.query(_USED, parameters=_span(start_us, end_us)).named_results()
        return [
            Used(
                tenant=row["billed_tenant"],
                pool=row["billed_pool"],
                model=row["billed_model"],
                service_class=row["billed_class"],
                price_list=row["billed_list"],
                start_us=start_us,
                end_us=end_us,
                tokens=counts(row),
                events=row["events"],
            )
            for row in found
        ]


def reserved(options: ClickHouseOptions, *, start_us: int, end_us: int) -> list[Reserved]:
    """Return floors x time and what of it stood idle, tick by tick, rounded down to tokens."""
    with asking(options) as client:
        found = client.query(_RESERVED, parameters=_span(start_us, end_us)).named_results()
        return [
            Reserved(
                tenant=row["billed_tenant"],
                pool=row["billed_pool"],
                model=row["billed_model"],
                service_class=row["billed_class"],
                price_list=row["billed_list"],
                start_us=start_us,
                end_us=end_us,
                reserved_tokens=row["reserved_ut"] // PPM,
                idle_tokens=row["idle_ut"] // PPM,
            )
            for row in found
        ]


def _span(start_us: int, end_us: int) -> dict[str, int | str]:
    return {"start_us": start_us, "end_us": end_us, "price_list": DEFAULT_PRICE_LIST}
