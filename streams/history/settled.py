"""Settled but never emitted: whose usage events are missing?

Admitters say what gateways settled, by the source that emits the usage; the accepted rows of that
source say what was emitted.  A gateway may try to deliver an event for two minutes, so settlements
count when they are ``GRACE_US`` old.  Usage of requests that still run is emitted and not settled
yet: it can hide what is missing of the same source until those requests end.  All functions are
synchronous and raise ``UnavailableError`` when ClickHouse does not answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from schemas.connections import ClickHouseOptions
from schemas.reports import OTHER_SOURCES, UNNAMED_SOURCE
from schemas.units import US_PER_MINUTE
from streams.history.queries import asking

GRACE_US: Final = 150_000_000
"""Longer than a gateway tries to deliver an event (``GatewayLimits.delivery_ms_max``)."""
BEFORE_SETTLED_US: Final = 86_400_000_000
"""A request may have emitted so long before its source settled first."""
UNLISTED: Final = (OTHER_SOURCES, UNNAMED_SOURCE)
"""Sums of settlements that name no source of their own."""


class SourceUsage(NamedTuple):
    """What one source settled and emitted of one entitlement, in tokens of all classes."""

    pool: str
    entitlement: str
    source: str
    """Empty: emitted by sources that no admitter names."""
    settled: int
    emitted: int


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Tokens that a gateway settled and that are in no accepted event."""

    pool: str
    entitlement: str
    source: str
    settled: int
    emitted: int

    @property
    def tokens(self) -> int:
        """How much is missing."""
        return self.settled - self.emitted


_SETTLED: Final = """
SELECT pool, entitlement, source, sum(told) AS settled_tokens, min(first) AS first_us
FROM
(
    SELECT pool, entitlement, source, incarnation, argMax(tokens, (minute, sequence)) AS told,
        toUnixTimestamp64Micro(min(minute)) AS first, toUnixTimestamp64Micro(max(minute)) AS last
    FROM settled
    WHERE minute < fromUnixTimestamp64Micro({before_us:Int64}, 'UTC')
        AND ({pool:String} = '' OR pool = {pool:String})
    GROUP BY pool, entitlement, source, incarnation
)
GROUP BY pool, entitlement, source
HAVING max(last) >= {since_us:Int64}
"""

_EMITTED: Final = """
SELECT
    usage.pool, usage.entitlement,
    if((usage.pool, usage.entitlement, usage.source) IN
        (SELECT pool, entitlement, source FROM settled), usage.source, '') AS name,
    sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)
FROM usage_accepted AS usage
WHERE stored_at >= fromUnixTimestamp64Micro({stored_us:Int64}, 'UTC')
    AND (pool, entitlement) IN (SELECT pool, entitlement FROM settled)
    AND ({pool:String} = '' OR pool = {pool:String})
GROUP BY usage.pool, usage.entitlement, name
"""


def settled_before(now_us: int) -> int:
    """Return the minute before which settlements are old enough to be compared."""
    return (now_us - GRACE_US) // US_PER_MINUTE * US_PER_MINUTE


def source_usage(
    options: ClickHouseOptions, *, before_us: int, since_us: int = 0, pool: str = ""
) -> list[SourceUsage]:
    """Return settled and emitted tokens by source.

    Settlements count that were reported in minutes before ``before_us``; sources that settled
    nothing since ``since_us`` are left out.
    """
    parameters: dict[str, Any] = {"before_us": before_us, "since_us": since_us, "pool": pool}
    with asking(options) as client:
        settled = client.query(_SETTLED, parameters=parameters).result_rows
        if not settled:
            return []
        first_us = min(row[4] for row in settled)
        parameters["stored_us"] = max(0, first_us - BEFORE_SETTLED_US)
        emitted = client.query(_EMITTED, parameters=parameters).result_rows
    tokens = {(pool, uid, source): (settled, 0) for pool, uid, source, settled, _ in settled}
    for pool_name, uid, source, sent in emitted:
        key = (pool_name, uid, source)
        if key in tokens or not source:
            tokens[key] = (tokens.get(key, (0, 0))[0], sent)
    return [SourceUsage(*key, *amounts) for key, amounts in sorted(tokens.items())]


def missing_of(rows: Iterable[SourceUsage]) -> tuple[Missing, ...]:
    """Return what was settled and not emitted, named as well as it can be.

    Settlements that name no source are held against what unlisted sources emitted, and against
    what listed ones emitted beyond their own settlements.
    """
    missing: list[Missing] = []
    unlisted: dict[tuple[str, str], list[SourceUsage]] = {}
    spare: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.pool, row.entitlement)
        if row.source in UNLISTED:
            unlisted.setdefault(key, []).append(row)
            spare[key] = spare.get(key, 0) + row.emitted
        elif row.settled > row.emitted:
            missing.append(_missing(row, emitted=row.emitted))
        else:
            spare[key] = spare.get(key, 0) + row.emitted - row.settled
    for key, group in unlisted.items():
        for row in group:
            covered = min(spare.get(key, 0), row.settled)
            spare[key] = spare.get(key, 0) - covered
            if covered < row.settled:
                missing.append(_missing(row, emitted=covered))
    return tuple(sorted(missing, key=lambda each: (each.pool, each.entitlement, each.source)))


def _missing(row: SourceUsage, *, emitted: int) -> Missing:
    return Missing(
        pool=row.pool,
        entitlement=row.entitlement,
        source=row.source,
        settled=row.settled,
        emitted=emitted,
    )
