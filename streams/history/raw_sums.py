"""Raw sums: accepted rows and rollups summed up to a cut, for the comparison with ledger and Kafka.

A cut is the last offset of each partition that counts, within an epoch; earlier epochs count whole.
Everything at or below a cut that rows and judgement have passed never changes again, so the sums
are exact while more is written.  All functions are synchronous and raise ``UnavailableError`` when
ClickHouse does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from schemas.connections import ClickHouseOptions
from schemas.units import TokenCounts
from streams.history.queries import TOKENS, WITHIN, Counted, asking, counts

WINDOW_US: Final = 60_000_000
WINDOWS_PER_QUERY: Final = 200
"""Their names travel in the address of a query."""

Key = tuple[str, str]
"""Pool, entitlement."""
Interval = tuple[int, int]
"""Event time ``[start, end)`` in microseconds."""


class Cut(NamedTuple):
    """The last record of a partition that counts."""

    epoch: int
    offset: int


class Version(NamedTuple):
    """The position that a window's totals include."""

    epoch: int
    offset: int
    record_index: int


class Window(NamedTuple):
    """One minute of an entitlement."""

    pool: str
    entitlement: str
    start_us: int


@dataclass(frozen=True, kw_only=True)
class Rollups:
    """The ledger's word on an interval, as history keeps it."""

    sums: dict[Key, Counted]
    later: dict[Window, tuple[int, Version]]
    """Windows whose totals include more than the cut: partition and version."""
    uncounted: int
    """Windows that the ledger has ordered and that are not counted again yet."""


_CUT: Final = """
    (epoch, toInt64(record_offset)) <= (
        transform(toInt64(partition), {partitions:Array(Int64)}, {epochs:Array(UInt64)},
            toUInt64(0)),
        transform(toInt64(partition), {partitions:Array(Int64)}, {offsets:Array(Int64)},
            toInt64(-1))
    )"""
_FROM: Final = """
    (epoch, toInt64(record_offset)) >= (
        transform(toInt64(partition), {partitions:Array(Int64)}, {from_epochs:Array(UInt64)},
            toUInt64(0)),
        transform(toInt64(partition), {partitions:Array(Int64)}, {from_offsets:Array(Int64)},
            toInt64(0))
    )"""
_ROLLED: Final = """
    window_us = {window_us:Int64}
    AND window_start >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    AND window_start < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
    AND ({pool:String} = '' OR pool = {pool:String})"""
_ROLLUP_SUMS: Final = f"""
SELECT pool, entitlement,{TOKENS}, sum(events) AS events
FROM (SELECT * FROM rollups FINAL WHERE {_ROLLED})
GROUP BY pool, entitlement
"""
_LATER: Final = f"""
SELECT pool, entitlement, toUnixTimestamp64Micro(window_start), partition, epoch, record_offset,
    record_index
FROM (SELECT * FROM rollups FINAL WHERE {_ROLLED}) WHERE NOT {_CUT}
LIMIT {{later_max:UInt32}}
"""
_UNCOUNTED: Final = f"""
SELECT count()
FROM (SELECT * FROM rollup_orders FINAL WHERE {_ROLLED}) AS orders
LEFT JOIN (SELECT * FROM rollups FINAL WHERE {_ROLLED}) AS totals
    USING (pool, entitlement, window_us, window_start)
WHERE orders.version > totals.version
"""
_POOL: Final = " AND pool = {pool:String}"


def raw_sums(
    options: ClickHouseOptions,
    cuts: Mapping[int, Cut],
    *,
    starts: Mapping[int, Cut] | None = None,
    interval: Interval | None = None,
    pool: str | None = None,
) -> dict[Key, Counted]:
    """Return accepted rows up to the cuts (from ``starts`` on) by pool and entitlement."""
    where, parameters = _filters(interval, pool)
    parameters |= _cut_parameters(cuts)
    if starts is not None:
        where += f" AND {_FROM}"
        ordered = [starts[partition] for partition in cuts]
        parameters["from_epochs"] = [each.epoch for each in ordered]
        parameters["from_offsets"] = [each.offset for each in ordered]
    sql = f"""
SELECT pool, entitlement,{TOKENS}, count() AS events
FROM usage_accepted WHERE {_CUT}{where}
GROUP BY pool, entitlement
"""
    with asking(options) as client:
        return _sums(client.query(sql, parameters=parameters).named_results())


def raw_sums_of(
    options: ClickHouseOptions,
    windows: Mapping[Window, tuple[int, Version]],
    *,
    cuts: Mapping[int, Cut],
) -> dict[Key, Counted]:
    """Return the accepted rows of these windows that lie above the cuts, up to their versions."""
    sql = f"""
SELECT pool, entitlement,{TOKENS}, count() AS events
FROM usage_accepted
INNER JOIN
(
    SELECT arrayJoin({{windows:Array(Tuple(
        pool String, entitlement String, start_us Int64, epoch UInt64, record_offset UInt64,
        record_index UInt32
    ))}}) AS each, each.pool AS pool, each.entitlement AS entitlement, each.start_us AS start_us
) AS windows USING (pool, entitlement)
WHERE NOT {_CUT}
    AND intDiv(toUnixTimestamp64Micro(event_at), {WINDOW_US}) * {WINDOW_US} = start_us
    AND (epoch, record_offset, record_index)
        <= (each.epoch, each.record_offset, each.record_index)
GROUP BY pool, entitlement
"""
    sums: dict[Key, Counted] = {}
    named = [(*window, *version) for window, (_, version) in windows.items()]
    with asking(options) as client:
        for start in range(0, len(named), WINDOWS_PER_QUERY):
            parameters: dict[str, Any] = _cut_parameters(cuts)
            parameters["windows"] = named[start : start + WINDOWS_PER_QUERY]
            add(sums, _sums(client.query(sql, parameters=parameters).named_results()))
    return sums


def rollups(
    options: ClickHouseOptions,
    cuts: Mapping[int, Cut],
    *,
    interval: Interval,
    pool: str | None = None,
    later_max: int,
) -> Rollups:
    """Return the ledger's minutes of an interval; at most ``later_max`` of them above the cuts."""
    parameters: dict[str, Any] = {
        "window_us": WINDOW_US,
        "start_us": interval[0],
        "end_us": interval[1],
        "pool": pool or "",
        "later_max": later_max,
        **_cut_parameters(cuts),
    }
    with asking(options) as client:
        sums = client.query(_ROLLUP_SUMS, parameters=parameters)
        later = client.query(_LATER, parameters=parameters)
        uncounted = client.query(_UNCOUNTED, parameters=parameters)
        return Rollups(
            sums=_sums(sums.named_results()),
            later={Window(*row[:3]): (int(row[3]), Version(*row[4:])) for row in later.result_rows},
            uncounted=int(uncounted.result_rows[0][0]),
        )


def add(sums: dict[Key, Counted], more: Mapping[Key, Counted]) -> None:
    """Add sums to others in place."""
    for key, counted in more.items():
        known = sums.get(key, NOTHING_COUNTED)
        sums[key] = Counted(
            tokens=known.tokens + counted.tokens, events=known.events + counted.events
        )


NOTHING_COUNTED: Final = Counted(tokens=TokenCounts(), events=0)


def _filters(interval: Interval | None, pool: str | None) -> tuple[str, dict[str, Any]]:
    where, parameters = "", dict[str, Any]()
    if interval is not None:
        where += f" AND {WITHIN}"
        parameters["start_us"], parameters["end_us"] = interval
    if pool is not None:
        where += _POOL
        parameters["pool"] = pool
    return where, parameters


def _cut_parameters(cuts: Mapping[int, Cut]) -> dict[str, Any]:
    return {
        "partitions": list(cuts),
        "epochs": [cut.epoch for cut in cuts.values()],
        "offsets": [cut.offset for cut in cuts.values()],
    }


def _sums(rows: Any) -> dict[Key, Counted]:
    return {
        (row["pool"], row["entitlement"]): Counted(tokens=counts(row), events=row["events"])
        for row in rows
    }
