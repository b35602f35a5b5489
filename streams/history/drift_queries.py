"""Drift queries: are the ledger's counts those of the rows, over what was stored since last time?

Two questions for each partition of ``usage``.  Events: the judge's counts between two offsets, of
accepted events against the rows without a verdict, of all others against the verdicts.  Minutes:
the totals that the ledger published of every minute that got an event, against the accepted rows of
that minute through the position that the totals include.  Without FINAL: repeated rows are told by
their position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from schemas.units import US_PER_MINUTE, US_PER_S

PUBLISHED_AFTER_US: Final = 60 * US_PER_S
"""The ledger publishes a minute at most 5 s of the broker's clock after an event in it."""
REACH_US: Final = 8 * 86_400 * US_PER_S
"""Minutes that are older when an event comes (a correction) are counted again by history itself;
no pool may accept events that are later than 7 days."""
VERDICTS_REACH_US: Final = 2 * REACH_US
CLOCK_STEP_US: Final = 86_400 * US_PER_S
"""A broker's clock may step back by so much; earlier parts are skipped."""
WINDOWS_MAX: Final = 1_000
"""Minutes that differ and are told of, in one check of one partition."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Through where a partition was found right."""

    epoch: int
    partition: int
    offset: int = -1
    accepted: int = 0
    refused: int = 0
    """The judge's counts of events through ``offset``: accepted, and all others."""
    stored_us: int = 0
    """The largest stored time of the rows through ``offset``."""
    minutes_us: int = 0
    """Minutes with events that were stored until then were found right."""


class JudgedPartition(NamedTuple):
    """One row of the view ``judged``."""

    epoch: int
    partition: int
    judged_through: int
    read_through: int
    accepted: int
    refused: int


class Rows(NamedTuple):
    """What the rows of an interval of offsets say."""

    accepted: int
    refused: int
    """Positions with a verdict."""
    stored_us: int


class Differing(NamedTuple):
    """A minute whose published totals are not its rows'."""

    pool: str
    entitlement: str
    start_us: int
    tokens: int
    """The sum over the token classes of the differences."""
    events: int


_JUDGED: Final = """
SELECT epoch, partition, judged_through, read_through, accepted_events,
    duplicate_events + late_events + dead_events + forwarded_events
FROM judged ORDER BY partition, epoch
"""

_MARKS: Final = """
SELECT epoch, partition, toInt64(record_offset), accepted_events, refused_events,
    toUnixTimestamp64Micro(stored_at), toUnixTimestamp64Micro(minutes_before)
FROM drift_checks FINAL
"""

_REFUSED: Final = """
SELECT epoch, partition, record_offset, record_index FROM verdicts
WHERE partition = {partition:UInt32} AND verdict != 'accepted'
"""

_BETWEEN: Final = f"""
{_REFUSED} AND epoch = {{epoch:UInt64}}
    AND toInt64(record_offset) > {{after:Int64}} AND record_offset <= {{through:UInt64}}
"""

_EVENTS: Final = f"""
SELECT uniqExact((record_offset, record_index)),
    (SELECT uniqExact((record_offset, record_index)) FROM ({_BETWEEN})),
    toUnixTimestamp64Milli(max(stored_at)) * 1000
FROM usage_raw
WHERE epoch = {{epoch:UInt64}} AND partition = {{partition:UInt32}}
    AND toInt64(record_offset) > {{after:Int64}} AND record_offset <= {{through:UInt64}}
    AND stored_at >= fromUnixTimestamp64Micro({{stored_us:Int64}}, 'UTC')
    AND (epoch, partition, record_offset, record_index) NOT IN ({_BETWEEN})
"""

_TOUCHED: Final = """
SELECT DISTINCT pool, entitlement, toStartOfHour(event_at) AS hour,
    intDiv(toUnixTimestamp64Micro(event_at), {minute_us:Int64}) AS minute
FROM usage_raw
WHERE epoch = {epoch:UInt64} AND partition = {partition:UInt32}
    AND record_offset <= {through:UInt64}
    AND stored_at > fromUnixTimestamp64Micro({after_us:Int64}, 'UTC')
    AND stored_at <= fromUnixTimestamp64Micro({until_us:Int64}, 'UTC')
    AND event_at >= fromUnixTimestamp64Micro({events_us:Int64}, 'UTC')
"""

_MINUTES: Final = f"""
WITH touched AS ({_TOUCHED}),
    (raw.epoch, raw.record_offset, raw.record_index)
        <= (published.epoch, published.record_offset, published.record_index) AS included,
    raw.accepted AND (included
        OR raw.stored_at <= fromUnixTimestamp64Micro({{until_us:Int64}}, 'UTC')) AS counts
SELECT
    raw.pool, raw.entitlement, raw.minute * {{minute_us:Int64}} AS start_us,
    abs(any(published.input_tokens) - sumIf(raw.input_tokens, counts))
        + abs(any(published.cache_read_tokens) - sumIf(raw.cache_read_tokens, counts))
        + abs(any(published.cache_write_tokens) - sumIf(raw.cache_write_tokens, counts))
        + abs(any(published.output_tokens) - sumIf(raw.output_tokens, counts)) AS tokens,
    abs(any(published.events) - countIf(counts)) AS events
FROM
(
    SELECT
        pool, entitlement, intDiv(toUnixTimestamp64Micro(event_at), {{minute_us:Int64}}) AS minute,
        epoch, record_offset, record_index, stored_at,
        input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
        (epoch, partition, record_offset, record_index) NOT IN
        (
            {_REFUSED} AND stored_at >= fromUnixTimestamp64Micro({{verdicts_us:Int64}}, 'UTC')
        ) AS accepted
    FROM usage_raw
    WHERE (pool, entitlement, toStartOfHour(event_at)) IN
            (SELECT pool, entitlement, hour FROM touched)
        AND (pool, entitlement, minute) IN (SELECT pool, entitlement, minute FROM touched)
        AND partition = {{partition:UInt32}}
        AND (epoch < {{epoch:UInt64}} OR record_offset <= {{through:UInt64}})
    LIMIT 1 BY epoch, partition, record_offset, record_index
) AS raw
LEFT JOIN
(
    SELECT pool, entitlement, intDiv(toUnixTimestamp64Micro(window_start), {{minute_us:Int64}})
            AS minute,
        input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, events,
        epoch, record_offset, record_index, version
    FROM rollups FINAL
    WHERE window_us = {{minute_us:Int64}}
        AND (pool, entitlement, minute) IN (SELECT pool, entitlement, minute FROM touched)
) AS published
    ON raw.pool = published.pool AND raw.entitlement = published.entitlement
        AND raw.minute = published.minute
LEFT JOIN
(
    SELECT pool, entitlement, intDiv(toUnixTimestamp64Micro(window_start), {{minute_us:Int64}})
            AS minute, version
    FROM rollup_orders FINAL
    WHERE window_us = {{minute_us:Int64}}
        AND (pool, entitlement, minute) IN (SELECT pool, entitlement, minute FROM touched)
) AS ordered
    ON raw.pool = ordered.pool AND raw.entitlement = ordered.entitlement
        AND raw.minute = ordered.minute
WHERE published.version >= ordered.version
    AND NOT (published.epoch = {{epoch:UInt64}} AND published.record_offset > {{through:UInt64}})
GROUP BY raw.pool, raw.entitlement, raw.minute
HAVING tokens > 0 OR events > 0
LIMIT {WINDOWS_MAX}
"""


def judged_partitions(client: Client) -> list[JudgedPartition]:
    """Return how far each partition is judged and read, epochs ascending."""
    return [JudgedPartition(*row) for row in client.query(_JUDGED).result_rows]


def stored_marks(client: Client) -> list[Mark]:
    """Return the marks of earlier checks."""
    names = ("epoch", "partition", "offset", "accepted", "refused", "stored_us", "minutes_us")
    rows = client.query(_MARKS).result_rows
    return [Mark(**dict(zip(names, row, strict=True))) for row in rows]


def store_marks(client: Client, marks: Iterable[Mark], *, now_us: int) -> None:
    """Remember marks: a later process goes on from them."""
    rows = [
        (
            mark.epoch,
            mark.partition,
            mark.offset,
            mark.accepted,
            mark.refused,
            mark.stored_us,
            mark.minutes_us,
            now_us,
        )
        for mark in marks
        if mark.offset >= 0
    ]
    if rows:
        client.insert(
            "drift_checks",
            rows,
            column_names=(
                "epoch",
                "partition",
                "record_offset",
                "accepted_events",
                "refused_events",
                "stored_at",
                "minutes_before",
                "checked_at",
            ),
        )


def rows_after(client: Client, mark: Mark, *, through: int) -> Rows:
    """Return how many events after the mark, through an offset, rows and verdicts tell of."""
    parameters = {
        "epoch": mark.epoch,
        "partition": mark.partition,
        "after": mark.offset,
        "through": through,
        "stored_us": max(0, mark.stored_us - CLOCK_STEP_US),
    }
    accepted, refused, stored_us = client.query(_EVENTS, parameters=parameters).result_rows[0]
    return Rows(int(accepted), int(refused or 0), max(int(stored_us), mark.stored_us))


def differing_minutes(client: Client, mark: Mark, *, until_us: int) -> list[Differing]:
    """Return the minutes that got an event stored after the mark's time and until this one, and
    whose published totals are not those of their rows through the mark's offset."""
    parameters: dict[str, Any] = {
        "epoch": mark.epoch,
        "partition": mark.partition,
        "through": mark.offset,
        "after_us": mark.minutes_us,
        "until_us": until_us,
        "events_us": max(0, mark.minutes_us - REACH_US),
        "verdicts_us": max(0, mark.minutes_us - VERDICTS_REACH_US),
        "minute_us": US_PER_MINUTE,
    }
    return [Differing(*row) for row in client.query(_MINUTES, parameters=parameters).result_rows]
