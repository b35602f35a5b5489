"""Rows of metering: usage, verdicts and rollups, as ``schemas/clickhouse`` names their columns.

A row is a pure function of the record and its position, so a record that is read again gives the
same row.  Times are microseconds since 1970 UTC (``stored_at`` of usage: milliseconds, the
broker's); ClickHouse's columns hold them as DateTime64.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.units import US_PER_MS
from schemas.verdicts import JudgedThrough, Verdict

AT_US_MAX: Final = 10_413_791_999_999_999
"""2299-12-31T23:59:59.999999Z, the last instant of a DateTime64(6) column: later ones are cut."""


class UsageRow(NamedTuple):
    """Table ``usage_raw``."""

    epoch: int
    partition: int
    record_offset: int
    record_index: int
    stored_at: int
    event_at: int
    source: str
    id: str
    sequence: int | None
    pool: str
    entitlement: str
    tenant: str
    model: str
    reservation_id: str
    served_class: str
    demoted: bool
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    started_at: int
    requested_at: int
    first_token_at: int | None
    final: bool
    outcome: str
    attributes: dict[str, str]
    forwarded_from: str
    replays: str


class VerdictRow(NamedTuple):
    """Table ``verdicts``."""

    epoch: int
    partition: int
    record_offset: int
    record_index: int
    verdict: str
    reason: str
    error: str
    source: str
    id: str
    pool: str
    entitlement: str
    stored_at: int
    event_at: int
    first: str
    replays: str
    original: bytes | None
    original_key: bytes | None
    original_headers: list[tuple[str, bytes]]


class JudgedRow(NamedTuple):
    """Table ``judged_through``."""

    epoch: int
    partition: int
    record_offset: int
    generation: int
    accepted_events: int
    duplicate_events: int
    late_events: int
    dead_events: int
    forwarded_events: int
    floor_at: int


class ReadRow(NamedTuple):
    """Table ``read_through``."""

    topic: str
    epoch: int
    partition: int
    record_offset: int


class RollupRow(NamedTuple):
    """Table ``rollups``."""

    pool: str
    entitlement: str
    tenant: str
    model: str
    window_us: int
    window_start: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    events: int
    requests: int
    demoted_tokens: int
    epoch: int
    partition: int
    record_offset: int
    record_index: int
    version: int


class RollupOrderRow(NamedTuple):
    """Table ``rollup_orders``."""

    pool: str
    entitlement: str
    tenant: str
    model: str
    window_us: int
    window_start: int
    epoch: int
    partition: int
    record_offset: int
    record_index: int
    version: int


def verdict_row(verdict: Verdict, *, written_ms: int) -> VerdictRow:
    """Return the row of an event that was not accepted.

    A verdict that does not say when its event was stored is kept from when it was itself written:
    with 1970 it would leave ClickHouse at once, and its event would count.
    """
    position = verdict.position
    return VerdictRow(
        epoch=position.epoch,
        partition=position.partition,
        record_offset=position.offset,
        record_index=position.index,
        verdict=verdict.verdict.value,
        reason=verdict.reason,
        error=verdict.error,
        source=verdict.source,
        id=verdict.id,
        pool=verdict.pool,
        entitlement=verdict.entitlement,
        stored_at=at(verdict.stored_us or written_ms * US_PER_MS),
        event_at=at(verdict.event_us),
        first=_text(verdict.first),
        replays=_text(verdict.replays),
        original=verdict.original,
        original_key=verdict.original_key,
        original_headers=[(name, value) for name, value in verdict.original_headers],
    )


def judged_row(judged: JudgedThrough) -> JudgedRow:
    """Return the row that says how far a partition is judged."""
    counts = judged.counts
    return JudgedRow(
        epoch=judged.epoch,
        partition=judged.partition,
        record_offset=judged.offset,
        generation=judged.generation,
        accepted_events=counts.accepted,
        duplicate_events=counts.duplicate,
        late_events=counts.late,
        dead_events=counts.dead,
        forwarded_events=counts.forwarded,
        floor_at=at(judged.floor_us),
    )


def rollup_row(rollup: Rollup) -> RollupRow:
    """Return the row of a window's totals."""
    tokens = rollup.tokens
    return RollupRow(
        pool=rollup.pool,
        entitlement=rollup.entitlement,
        tenant=rollup.tenant,
        model=rollup.model,
        window_us=rollup.window_us,
        window_start=at(rollup.window_start_us),
        input_tokens=tokens.input_tokens,
        cache_read_tokens=tokens.cache_read_tokens,
        cache_write_tokens=tokens.cache_write_tokens,
        output_tokens=tokens.output_tokens,
        reasoning_tokens=tokens.reasoning_tokens,
        events=rollup.events,
        requests=rollup.requests,
        demoted_tokens=rollup.demoted_tokens,
        epoch=rollup.version.epoch,
        partition=rollup.version.partition,
        record_offset=rollup.version.offset,
        record_index=rollup.version.index,
        version=version_number(rollup.version),
    )


def order_row(rollup: Rollup) -> RollupOrderRow:
    """Return the row of a window that history is asked to count again."""
    return RollupOrderRow(
        pool=rollup.pool,
        entitlement=rollup.entitlement,
        tenant=rollup.tenant,
        model=rollup.model,
        window_us=rollup.window_us,
        window_start=at(rollup.window_start_us),
        epoch=rollup.version.epoch,
        partition=rollup.version.partition,
        record_offset=rollup.version.offset,
        record_index=rollup.version.index,
        version=version_number(rollup.version),
    )


def version_number(position: Position) -> int:
    """Return one number below 2^128 that orders the positions of a pool.

    The partition is left out: within an epoch a pool has only one.
    """
    return position.epoch << 96 | position.offset << 32 | position.index


def at(instant_us: int) -> int:
    """Return an instant that its column can hold."""
    return min(max(instant_us, 0), AT_US_MAX)


def _text(position: Position | None) -> str:
    return "" if position is None else str(position)
