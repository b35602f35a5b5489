"""What is there in the end: the log itself, the ledger in its changelog, and ClickHouse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aiokafka import TopicPartition

from schemas.connections import KafkaOptions
from schemas.topics import USAGE
from streams.changelog import read_progress, read_totals
from streams.topic_logs import log_bounds, reader
from tests.faults.account import Owner, Sums
from tests.faults.logged import events_of
from tests.faults.oracle import Found, Stored, Verdicts, Window
from tests.faults.servers import Database

POLL_MS: Final = 200
_SUMS: Final = (
    "sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), "
    "sum(reasoning_tokens), count()"
)
_ACCEPTED: Final = f"""
SELECT pool, entitlement, {_SUMS} FROM usage_accepted GROUP BY pool, entitlement"""
_JUDGED: Final = """
SELECT partition, accepted_events, duplicate_events, late_events, dead_events, forwarded_events
FROM judged"""
_ROLLUPS: Final = """
SELECT pool, entitlement, window_us, toUnixTimestamp64Micro(window_start), input_tokens,
    cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, events
FROM rollups FINAL"""
_RECOUNTED: Final = f"""
SELECT pool, entitlement, window_us,
    intDiv(toUnixTimestamp64Micro(event_at), window_us) * window_us AS start_us, {_SUMS}
FROM usage_accepted
CROSS JOIN (SELECT DISTINCT window_us FROM rollups) AS windows
GROUP BY pool, entitlement, window_us, start_us"""


async def log_of(options: KafkaOptions) -> list[Stored]:
    """Return every event that the log of usage holds, in the order of its partitions."""
    topic = options.topic(USAGE)
    bounds = await log_bounds(options, topic, range(options.partitions))
    left = {TopicPartition(topic, p): end for p, (begin, end) in bounds.items() if begin < end}
    events: list[Stored] = []
    if not left:
        return events
    async with reader(options) as consumer:
        consumer.assign(list(left))
        await consumer.seek_to_beginning(*left)
        while left:
            for tp, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in records:
                    events += events_of(tp.partition, record.value, record.headers)
            for tp in [tp for tp in left if await consumer.position(tp) >= left[tp]]:
                del left[tp]
    return events


async def ends_of(options: KafkaOptions) -> dict[int, int]:
    """Return the last offset of every partition of usage that holds anything."""
    bounds = await log_bounds(options, options.topic(USAGE), range(options.partitions))
    return {partition: end - 1 for partition, (_, end) in bounds.items() if end}


async def ledger_reach(options: KafkaOptions) -> dict[int, int]:
    """Return through which offset the ledger holds each partition."""
    progress = await read_progress(options)
    return {partition: position.offset for partition, (position, _) in progress.items()}


async def history_reach(database: Database, name: str) -> dict[int, int]:
    """Return through which offset ClickHouse holds rows and judgement of each partition."""
    rows = await database.rows("SELECT partition, counted_through FROM judged", database=name)
    return {int(partition): int(through) for partition, through in rows}


async def windows_agree(database: Database, name: str) -> bool:
    """Say whether the rollups are the sums of the accepted rows now."""
    found = await _windows(database, _ROLLUPS, name)
    return bool(found) and found == await _windows(database, _RECOUNTED, name)


async def found_in(options: KafkaOptions, database: Database, name: str) -> Found:
    """Return everything that the oracle looks at."""
    progress = await read_progress(options)
    totals = await read_totals(options)
    accepted = await database.rows(_ACCEPTED, database=name)
    judged = await database.rows(_JUDGED, database=name)
    return Found(
        ledger={
            owner: _sums((*_counts(each.tokens), each.events)) for owner, each in totals.items()
        },
        history={_owner(row): _sums(row[2:]) for row in accepted},
        ledger_verdicts={
            partition: Verdicts(*(getattr(counts, name) for name in Verdicts._fields))
            for partition, (_, counts) in progress.items()
        },
        history_verdicts={int(row[0]): Verdicts(*map(int, row[1:])) for row in judged},
        rollups=await _windows(database, _ROLLUPS, name),
        recounted=await _windows(database, _RECOUNTED, name),
    )


async def _windows(database: Database, sql: str, name: str) -> dict[Window, Sums]:
    return {
        Window(str(row[0]), str(row[1]), int(row[2]), int(row[3])): _sums(row[4:])
        for row in await database.rows(sql, database=name)
    }


def _counts(tokens: Any) -> Iterable[int]:
    return (getattr(tokens, name) for name in Sums._fields[:-1])


def _sums(values: Iterable[Any]) -> Sums:
    return Sums(*map(int, values))


def _owner(row: list[Any]) -> Owner:
    return str(row[0]), str(row[1])
