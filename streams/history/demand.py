"""Demand: what the autoscaler asks ClickHouse, one pool and one window at a time.

The quantile of each dimension by itself, over the ticks in ``[start, end)``, refused demand
included.  It is the same element that ``streams.core.scaling.quantile`` takes, so the answer does
not change when the topic ``ticks`` has to stand in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.connections import ClickHouseOptions
from schemas.errors import UnavailableError
from schemas.units import Resources
from streams.history.client import absence, connect, reaching

ANSWER_S_MAX: Final = 3
"""A slower answer is as good as none: the autoscaler has the topic ``ticks``."""

_ELEMENT: Final = (
    "arraySort(groupArray({column}))"
    "[least(intDiv(count() * {{quantile_ppm:UInt64}}, 1000000), count() - 1) + 1]"
)

_DEMAND: Final = f"""
SELECT
    entitlement,
    {_ELEMENT.format(column="demand_tokens_per_s")} AS tokens_per_s,
    {_ELEMENT.format(column="demand_kv_bytes")} AS kv_bytes,
    {_ELEMENT.format(column="demand_slots")} AS slots,
    count() AS ticks,
    max(toUnixTimestamp64Micro(at)) AS newest_us
FROM demand
WHERE pool = {{pool:String}}
    AND at >= fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
    AND at < fromUnixTimestamp64Micro({{end_us:Int64}}, 'UTC')
GROUP BY entitlement
"""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Demand by entitlement in one window."""

    by_entitlement: dict[str, Resources]
    ticks_seen: int
    newest_us: int
    """Time of the newest tick; 0: none was seen."""


class DemandReader:
    """A client that is kept between questions, and connected again after a failure."""

    def __init__(self, options: ClickHouseOptions) -> None:
        self._options = options
        self._client: Client | None = None

    def read(self, pool: str, *, start_us: int, end_us: int, quantile_ppm: int) -> Demand:
        """Return the demand of a pool; blocks; ``UnavailableError`` when nobody answers."""
        client, self._client = self._client or self._connect(), None
        parameters = {
            "pool": pool,
            "start_us": start_us,
            "end_us": end_us,
            "quantile_ppm": quantile_ppm,
        }
        try:
            with reaching(self._options):
                rows = client.query(_DEMAND, parameters=parameters).result_rows
        except DatabaseError as error:  # such as a table that was not migrated yet
            raise UnavailableError(absence(self._options, error)) from error
        self._client = client
        return Demand(
            by_entitlement={row[0]: Resources(row[1], row[2], row[3]) for row in rows},
            ticks_seen=max((row[4] for row in rows), default=0),
            newest_us=max((row[5] for row in rows), default=0),
        )

    def _connect(self) -> Client:
        return connect(self._options, answer_s_max=ANSWER_S_MAX)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
