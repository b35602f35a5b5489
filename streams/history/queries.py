"""Queries: what was used, by whom and when, read from ClickHouse's views.

Every value travels as a typed parameter; only fixed pieces of this file become SQL.  Instants are
microseconds since 1970 UTC, intervals are ``[start, end)``; a period begins when its time zone says
so.  The functions are synchronous: async callers run them in a thread.  All raise
``UnavailableError`` when ClickHouse does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clickhouse_connect.driver.client import Client

from schemas.connections import ClickHouseOptions
from schemas.errors import SettingsError
from schemas.units import TokenCounts
from streams.history.client import connect, reaching

ROWS_MAX: Final = 1_000_000
"""Rows that one query may return; beyond it ClickHouse refuses instead of cutting."""

TOKENS: Final = """
    sum(input_tokens) AS input_tokens, sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens, sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens"""


class Step(StrEnum):
    """How long a period is; ``total``: one period for the whole interval."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class By(StrEnum):
    """What usage may be grouped by and filtered on, besides labels."""

    TENANT = "tenant"
    POOL = "pool"
    MODEL = "model"
    ENTITLEMENT = "entitlement"
    CLASS = "class"
    """The class it was served in."""


@dataclass(frozen=True, kw_only=True)
class UsageQuery:
    """What to sum, over which periods, by what."""

    start_us: int
    end_us: int
    step: Step = Step.TOTAL
    tz: str = "UTC"
    by: tuple[By, ...] = (By.TENANT, By.POOL)
    labels: tuple[str, ...] = ()
    """Labels of the entitlement (as it is now) to group by as well."""
    where: Mapping[By, str] | None = None
    where_labels: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """One period of one group."""

    start_us: int
    """Start of the period, or of the interval for ``total``."""
    group: Mapping[str, str]
    tokens: TokenCounts
    events: int
    requests: int
    """Final events: requests that ended."""
    demoted_tokens: int


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Everything that an entitlement consumed, as far as it is judged."""

    tokens: TokenCounts
    events: int


@dataclass(frozen=True, kw_only=True)
class Sliding:
    """What an entitlement used in a sliding window, as far as the ledger has published it."""

    pool: str
    entitlement: str
    tokens: TokenCounts
    events: int
    requests: int
    judged_through: int
    """The pool's partition of ``usage`` is judged through this offset; -1: not at all."""


@dataclass(frozen=True)
class Judged:
    """How far a partition of ``usage`` is judged and read; -1: not at all."""

    judged_through: int
    read_through: int
    accepted: int
    duplicate: int
    late: int
    dead: int
    forwarded: int

    @property
    def counted_through(self) -> int:
        """Up to this offset the accepted events are in the sums."""
        return min(self.judged_through, self.read_through)


_COLUMNS: Final = {
    By.TENANT: "if(owner.tenant = '', used.tenant, owner.tenant)",
    By.POOL: "used.pool",
    By.MODEL: "if(used.model = '', owner.model, used.model)",
    By.ENTITLEMENT: "used.entitlement",
    By.CLASS: "if(used.served_class = '', owner.service_class, used.served_class)",
}
_PERIODS: Final = {
    Step.MINUTE: "toStartOfMinute(used.event_at, {tz:String})",
    Step.HOUR: "toStartOfHour(used.event_at, {tz:String})",
    Step.DAY: "toStartOfDay(used.event_at, {tz:String})",
    Step.MONTH: "toDateTime(toStartOfMonth(used.event_at, {tz:String}), {tz:String})",
}
WITHIN: Final = """
    event_at >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    AND event_at < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')"""


def usage(options: ClickHouseOptions, query: UsageQuery) -> list[UsageRow]:
    """Return the sums of accepted usage by period and group, in that order."""
    sql, parameters = usage_sql(query)
    keys = [*query.by, *query.labels]
    with asking(options) as client:
        rows = client.query(sql, parameters=parameters).named_results()
        return [_usage_row(row, keys) for row in rows]


def usage_sql(query: UsageQuery) -> tuple[str, dict[str, Any]]:
    """Return the statement and its parameters."""
    _check_zone(query.tz)
    keys = [_COLUMNS[by] for by in query.by]
    keys += [f"owner.labels[{{label_{index}:String}}]" for index in range(len(query.labels))]
    parameters: dict[str, Any] = {
        "start_us": query.start_us,
        "end_us": query.end_us,
        "tz": query.tz,
        **{f"label_{index}": label for index, label in enumerate(query.labels)},
    }
    period = "{start_us:Int64}"
    if query.step is not Step.TOTAL:
        period = f"toInt64(toUnixTimestamp({_PERIODS[query.step]})) * 1000000"
    columns = "".join(f",\n    {key} AS key_{index}" for index, key in enumerate(keys))
    names = ["start_us_of_period", *(f"key_{index}" for index in range(len(keys)))]
    sql = f"""
SELECT
    {period} AS start_us_of_period{columns},{TOKENS},
    count() AS events,
    countIf(used.final) AS requests,
    sumIf(
        used.input_tokens + used.cache_read_tokens + used.cache_write_tokens + used.output_tokens,
        used.demoted
    ) AS demoted_tokens
FROM (SELECT * FROM usage_accepted WHERE {WITHIN}{_pool_filter(query, parameters)}) AS used
LEFT JOIN entitlements_now AS owner
    ON owner.pool = used.pool AND owner.entitlement = used.entitlement
{_filters(query, parameters)}
GROUP BY {", ".join(names)}
ORDER BY {", ".join(names)}
LIMIT {ROWS_MAX}
"""
    return sql, parameters


def accepted_totals(
    options: ClickHouseOptions, *, sources_like: str | None = None
) -> dict[tuple[str, str], Counted]:
    """Return all accepted usage by (pool, entitlement), from raw rows.

    This is the SQL reader of the reconciliation.  ``sources_like`` keeps the events whose source
    matches the LIKE pattern.
    """
    sql = f"""
SELECT pool, entitlement,{TOKENS}, count() AS events
FROM usage_accepted
WHERE {"source LIKE {sources_like:String}" if sources_like is not None else "1"}
GROUP BY pool, entitlement
ORDER BY pool, entitlement
"""
    parameters = {} if sources_like is None else {"sources_like": sources_like}
    with asking(options) as client:
        rows = client.query(sql, parameters=parameters).named_results()
        return {
            (row["pool"], row["entitlement"]): Counted(tokens=counts(row), events=row["events"])
            for row in rows
        }


def judged(options: ClickHouseOptions) -> dict[tuple[int, int], Judged]:
    """Return how far each (epoch, partition) of ``usage`` is judged and read."""
    sql = """
SELECT epoch, partition, judged_through, read_through, accepted_events, duplicate_events,
    late_events, dead_events, forwarded_events
FROM judged ORDER BY epoch, partition
"""
    with asking(options) as client:
        return {(row[0], row[1]): Judged(*row[2:]) for row in _rows(client, sql)}


def sliding_usage(
    options: ClickHouseOptions,
    *,
    pool: str,
    entitlement: str | None = None,
    until_us: int,
    span_us: int,
) -> list[Sliding]:
    """Return the use of the last ``span_us`` before ``until_us``, from windows of seconds.

    Whole windows only: the end is rounded down to the length of the pool's windows.
    """
    sql = f"""
SELECT pool, entitlement, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
    reasoning_tokens, events, requests, judged_through
FROM usage_sliding(until_us = {{until_us:Int64}}, span_us = {{span_us:Int64}})
WHERE pool = {{pool:String}}{" AND entitlement = {entitlement:String}" if entitlement else ""}
ORDER BY entitlement
"""
    parameters = {
        "pool": pool,
        "entitlement": entitlement or "",
        "until_us": until_us,
        "span_us": span_us,
    }
    with asking(options) as client:
        return [
            Sliding(
                pool=row["pool"],
                entitlement=row["entitlement"],
                tokens=counts(row),
                events=row["events"],
                requests=row["requests"],
                judged_through=row["judged_through"],
            )
            for row in client.query(sql, parameters=parameters).named_results()
        ]


def read_through(options: ClickHouseOptions, *, topic: str, epoch: int) -> dict[int, int]:
    """Return the last offset of each partition of ``topic`` whose rows are stored."""
    sql = """
SELECT partition, max(record_offset) FROM read_through
WHERE topic = {topic:String} AND epoch = {epoch:UInt64} GROUP BY partition
"""
    with asking(options) as client:
        rows = _rows(client, sql, topic=topic, epoch=epoch)
        return {int(partition): int(offset) for partition, offset in rows}


def verdict_counts(options: ClickHouseOptions) -> dict[tuple[str, str], int]:
    """Return the number of events that were not accepted, by (verdict, reason)."""
    sql = """
SELECT verdict, reason, count() FROM verdicts FINAL GROUP BY verdict, reason ORDER BY 1, 2
"""
    with asking(options) as client:
        return {(verdict, reason): count for verdict, reason, count in _rows(client, sql)}


@contextmanager
def asking(options: ClickHouseOptions) -> Iterator[Client]:
    """Yield a client for the queries of one answer."""
    client = connect(options)
    try:
        with reaching(options):
            yield client
    finally:
        client.close()


def counts(row: Mapping[str, Any]) -> TokenCounts:
    """Return the token columns of a row."""
    return TokenCounts(
        row["input_tokens"],
        row["cache_read_tokens"],
        row["cache_write_tokens"],
        row["output_tokens"],
        row["reasoning_tokens"],
    )


def _rows(client: Client, sql: str, **parameters: object) -> Sequence[Sequence[Any]]:
    rows: Sequence[Sequence[Any]] = client.query(sql, parameters=parameters).result_rows
    return rows


def _usage_row(row: Mapping[str, Any], keys: Sequence[str]) -> UsageRow:
    return UsageRow(
        start_us=row["start_us_of_period"],
        group={str(key): row[f"key_{index}"] for index, key in enumerate(keys)},
        tokens=counts(row),
        events=row["events"],
        requests=row["requests"],
        demoted_tokens=row["demoted_tokens"],
    )


def _pool_filter(query: UsageQuery, parameters: dict[str, Any]) -> str:
    """Return the condition that lets ClickHouse skip other pools' rows."""
    where = query.where or {}
    if By.POOL not in where:
        return ""
    parameters["where_pool"] = where[By.POOL]
    return " AND pool = {where_pool:String}"


def _filters(query: UsageQuery, parameters: dict[str, Any]) -> str:
    conditions = []
    for by, value in (query.where or {}).items():
        parameters[f"where_{by}"] = value
        conditions.append(f"{_COLUMNS[by]} = {{where_{by}:String}}")
    for index, (label, value) in enumerate((query.where_labels or {}).items()):
        parameters |= {f"where_label_{index}": label, f"where_value_{index}": value}
        conditions.append(
            f"owner.labels[{{where_label_{index}:String}}] = {{where_value_{index}:String}}"
        )
    return "WHERE " + " AND ".join(conditions) if conditions else ""


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingsError(f"--tz {name!r} is no time zone (such as Europe/Berlin)") from error
