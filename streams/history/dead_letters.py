"""Dead letters: events that count nowhere, read from ClickHouse with the bytes to replay.

Positions name letters.  Listing leaves the originals out, so that a page of letters is small; they
are fetched for some positions at a time.  All functions are synchronous and raise
``UnavailableError`` when ClickHouse does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.connections import ClickHouseOptions
from schemas.positions import Position
from schemas.usage import Headers
from streams.history.queries import asking

_AT: Final = "epoch, partition, record_offset, record_index"
_COLUMNS: Final = f"""{_AT}, verdict, reason, error, source, id, pool, entitlement,
    toUnixTimestamp64Micro(stored_at) AS stored_us, toUnixTimestamp64Micro(event_at) AS event_us,
    first, replays"""
_ORIGINAL: Final = """
    original IS NOT NULL AS has_original, hex(ifNull(original, '')) AS original_hex,
    original_key IS NOT NULL AS has_key, hex(ifNull(original_key, '')) AS key_hex,
    arrayMap(header -> [hex(header.1), hex(header.2)], original_headers) AS headers_hex"""

_CONDITIONS: Final = {
    "pool": "pool = {pool:String}",
    "reason": "reason = {reason:String}",
    "verdict": "verdict = {verdict:String}",
    "start_us": "stored_at >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')",
    "end_us": "stored_at < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')",
}
_TO_REPLAY: Final = """replays = '' AND concat(toString(epoch), '/', toString(partition), '/',
    toString(record_offset), '/', toString(record_index))
    NOT IN (SELECT replays FROM usage_accepted WHERE replays != '')"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which letters are asked for; None: whatever it is."""

    pool: str | None = None
    reason: str | None = None
    verdict: str | None = None
    """``dead`` or ``late``."""
    start_us: int | None = None
    end_us: int | None = None
    """Of the time at which the broker stored the event, ``[start, end)``."""
    to_replay: bool = False
    """Only those that are no replay themselves and that no accepted replay has counted yet."""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One event that was not accepted, and why."""

    position: Position
    verdict: str
    reason: str
    error: str
    source: str
    id: str
    pool: str
    entitlement: str
    stored_us: int
    event_us: int
    """0: the event could not be read."""
    first: str
    """The position that won, of a conflict."""
    replays: str
    """The position that it replays itself."""


@dataclass(frozen=True, kw_only=True)
class Original:
    """The record as it was read, to be looked at and sent again."""

    value: bytes
    key: bytes | None
    headers: Headers


def letters(options: ClickHouseOptions, wanted: Wanted, *, limit: int) -> list[Letter]:
    """Return the newest letters that are wanted, at most ``limit``, the newest last."""
    where, parameters = _where(wanted)
    sql = f"""
SELECT {_COLUMNS} FROM dead_letters WHERE {where}
ORDER BY stored_at DESC, {", ".join(f"{column} DESC" for column in _AT.split(", "))}
LIMIT {{limit:UInt32}}
"""
    with asking(options) as client:
        rows = client.query(sql, parameters={**parameters, "limit": limit}).named_results()
        return [_letter(row) for row in rows][::-1]


def counted(options: ClickHouseOptions, wanted: Wanted) -> int:
    """Return how many letters are wanted."""
    where, parameters = _where(wanted)
    sql = f"SELECT count() FROM dead_letters WHERE {where}"
    with asking(options) as client:
        return int(client.query(sql, parameters=parameters).result_rows[0][0])


def with_originals(
    options: ClickHouseOptions, positions: Sequence[Position]
) -> dict[Position, tuple[Letter, Original | None]]:
    """Return the letters at these positions; no original: it was not stored."""
    sql = f"""
SELECT {_COLUMNS},{_ORIGINAL} FROM dead_letters
WHERE ({_AT}) IN {{positions:Array(Tuple(UInt64, UInt32, UInt64, UInt32))}}
"""
    wanted = [(each.epoch, each.partition, each.offset, each.index) for each in positions]
    with asking(options) as client:
        rows = client.query(sql, parameters={"positions": wanted}).named_results()
        found = [(_letter(row), _original(row)) for row in rows]
    return {letter.position: (letter, original) for letter, original in found}


def replays_of(options: ClickHouseOptions, position: Position) -> list[tuple[str, bool]]:
    """Return where a letter was replayed, and whether that replay counts."""
    sql = f"""
SELECT concat(toString(epoch), '/', toString(partition), '/', toString(record_offset), '/',
        toString(record_index)) AS at,
    ({_AT}) IN (SELECT {_AT} FROM usage_accepted WHERE replays = {{position:String}}) AS counts
FROM usage_raw FINAL WHERE replays = {{position:String}} ORDER BY {_AT}
"""
    with asking(options) as client:
        rows = client.query(sql, parameters={"position": str(position)}).result_rows
        return [(str(at), bool(counts)) for at, counts in rows]


def _where(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    given = {name: getattr(wanted, name) for name in _CONDITIONS}
    parameters = {name: value for name, value in given.items() if value is not None}
    conditions = [_CONDITIONS[name] for name in parameters]
    if wanted.to_replay:
        conditions.append(_TO_REPLAY)
    return " AND ".join(conditions) or "1", parameters


def _letter(row: Mapping[str, Any]) -> Letter:
    return Letter(
        position=Position(
            row["epoch"], row["partition"], row["record_offset"], row["record_index"]
        ),
        verdict=row["verdict"],
        reason=row["reason"],
        error=row["error"],
        source=row["source"],
        id=row["id"],
        pool=row["pool"],
        entitlement=row["entitlement"],
        stored_us=row["stored_us"],
        event_us=row["event_us"],
        first=row["first"],
        replays=row["replays"],
    )


def _original(row: Mapping[str, Any]) -> Original | None:
    if not row["has_original"]:
        return None
    return Original(
        value=bytes.fromhex(row["original_hex"]),
        key=bytes.fromhex(row["key_hex"]) if row["has_key"] else None,
        headers=tuple(
            (bytes.fromhex(name).decode("utf-8", "replace"), bytes.fromhex(value))
            for name, value in row["headers_hex"]
        ),
    )
