"""The order of a verification, so that its answer is exact while everything goes on.

The ledger is read first: its position is the cut.  Streams publishes verdicts before it writes the
ledger, so Kafka is judged through the cut; history is waited for until it has stored and judged
through it.  Then the raw log and the raw rows are summed up to the cut, which no longer changes.

A window's ledger side is the minutes that streams has published.  A minute may include more than
the cut: its rollup says through which position, and for that minute the others count through there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from console.verification.comparison import Line, Report, lines_of, partition_lines
from console.verification.ledger import Ledger, Specified, read_ledger, read_specified
from console.verification.raw_log import RawPart, Say, Scope, read_raw
from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.errors import UnavailableError
from schemas.partitioning import partition_of
from schemas.specs import FIRST_EPOCH
from schemas.topics import ROLLUPS, USAGE
from streams.history.queries import Counted, judged, read_through
from streams.history.raw_sums import (
    Cut,
    Interval,
    Key,
    Rollups,
    Version,
    Window,
    add,
    raw_sums,
    raw_sums_of,
    rollups,
)
from streams.history.settled import missing_of, settled_before, source_usage
from streams.kafka import client_kwargs, unavailable
from streams.topic_logs import log_bounds

CATCH_UP_S_MAX: Final = 60.0
"""How long history may take to store what the ledger has folded already."""
POLL_S: Final = 0.5
LATER_MAX: Final = 20_000
"""Minutes that may be in the middle of being written; an interval with more is not over."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to verify: everything, or one pool; totals, or an interval of event time."""

    pool: str | None = None
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where to read and what was read first."""

    wanted: Wanted
    kafka: KafkaOptions
    clickhouse: ClickHouseOptions
    specified: Specified
    ledger: Ledger
    say: Say

    @property
    def partitions(self) -> list[int]:
        """The partitions that were folded at all."""
        return sorted(self.ledger.folded)


async def verify(
    wanted: Wanted,
    kafka: KafkaOptions,
    clickhouse: ClickHouseOptions,
    *,
    say: Say,
    now_us: Callable[[], int],
) -> Report:
    """Return the comparison; raise ``UnavailableError`` naming the reader that cannot answer."""
    await _reach(kafka)
    partitions = list(range(kafka.partitions))
    if wanted.pool is not None:
        partitions = [partition_of(wanted.pool, kafka.partitions)]
    say("reading the ledger's changelog")
    context = Context(
        wanted=wanted,
        kafka=kafka,
        clickhouse=clickhouse,
        specified=await read_specified(kafka),
        ledger=await read_ledger(kafka, partitions, pool=wanted.pool),
        say=say,
    )
    if wanted.interval is not None:
        return await _window(context, wanted.interval)
    return await _totals(context, now_us=now_us)


async def _reach(kafka: KafkaOptions) -> None:
    """Raise ``UnavailableError`` at once when no broker answers."""
    admin = AIOKafkaAdminClient(**client_kwargs(kafka))
    try:
        await admin.start()
    except (KafkaError, OSError) as error:
        raise unavailable(kafka, error) from error
    finally:
        await admin.close()


async def _totals(context: Context, *, now_us: Callable[[], int]) -> Report:
    cuts = {partition: each.cut for partition, each in context.ledger.folded.items()}
    await _history_through(context, cuts)
    parts = await _raw(context, cuts)
    sums = await asyncio.to_thread(raw_sums, context.clickhouse, cuts, pool=context.wanted.pool)
    in_range = sums
    if not all(part.complete for part in parts):
        in_range = await asyncio.to_thread(
            raw_sums,
            context.clickhouse,
            cuts,
            starts=_starts(context, parts),
            pool=context.wanted.pool,
        )
    before_us = settled_before(await _clock_us(context, now_us=now_us))
    usage = await asyncio.to_thread(
        source_usage,
        context.clickhouse,
        before_us=before_us,
        pool=context.wanted.pool or "",
    )
    counts = {partition: each.counts for partition, each in context.ledger.folded.items()}
    return Report(
        lines=_lines(context, parts, context.ledger.totals, sums, in_range),
        partitions=partition_lines(parts, counts),
        notes=_notes(parts),
        missing=missing_of(usage),
        settled_before_us=before_us,
    )


async def _window(context: Context, interval: Interval) -> Report:
    cuts = {partition: each.rolled_cut for partition, each in context.ledger.folded.items()}
    await _history_through(context, cuts)
    published = await _published(context, cuts, interval)
    later = {window: version for window, (_, version) in published.later.items()}
    await _history_through(context, _furthest(cuts, published.later))
    parts = await _raw(context, cuts, interval=interval, later=published.later)
    whole = await asyncio.to_thread(
        raw_sums, context.clickhouse, cuts, interval=interval, pool=context.wanted.pool
    )
    in_range = await asyncio.to_thread(
        raw_sums,
        context.clickhouse,
        cuts,
        starts=_starts(context, parts),
        interval=interval,
        pool=context.wanted.pool,
    )
    if later:
        extra = await asyncio.to_thread(raw_sums_of, context.clickhouse, published.later, cuts=cuts)
        add(whole, extra)
        add(in_range, extra)
    return Report(
        lines=_lines(context, parts, published.sums, whole, in_range), notes=_notes(parts)
    )


async def _published(context: Context, cuts: Mapping[int, Cut], interval: Interval) -> Rollups:
    """Return the ledger's minutes once history has all that were published before the cuts."""
    topic = context.kafka.topic(ROLLUPS)
    bounds = await log_bounds(context.kafka, topic, context.partitions)
    wanted = {partition: end - 1 for partition, (begin, end) in bounds.items() if begin < end}
    await _wait(context, partial(_rollups_behind, context, wanted))
    found: list[Rollups] = []

    def behind() -> str:
        published = rollups(
            context.clickhouse,
            cuts,
            interval=interval,
            pool=context.wanted.pool,
            later_max=LATER_MAX + 1,
        )
        found[:] = [published]
        count = published.uncounted
        return f"{count} late windows that it has to count again" if count else ""

    await _wait(context, behind)
    if len(found[0].later) > LATER_MAX:
        raise UnavailableError(
            f"more than {LATER_MAX} minutes of the interval are still being written; "
            "end it earlier (--to)"
        )
    return found[0]


def _rollups_behind(context: Context, wanted: Mapping[int, int]) -> str:
    """Return which partitions of ``rollups`` history has not read through these offsets."""
    stored: dict[int, int] = {}
    for epoch in range(FIRST_EPOCH, context.specified.epoch + 1):
        for partition, offset in read_through(
            context.clickhouse, topic=ROLLUPS, epoch=epoch
        ).items():
            stored[partition] = max(offset, stored.get(partition, -1))
    late = [partition for partition, end in wanted.items() if stored.get(partition, -1) < end]
    return f"rollups of partitions {late}" if late else ""


async def _history_through(context: Context, cuts: Mapping[int, Cut]) -> None:
    """Return when history has stored and judged through the cuts."""

    def behind() -> str:
        known = judged(context.clickhouse)
        for partition, cut in cuts.items():
            through = known.get((cut.epoch, partition))
            if through is None or through.counted_through < cut.offset:
                where = "nothing" if through is None else f"offset {through.counted_through}"
                return f"{USAGE} partition {partition} through {where}, ledger at {cut.offset}"
        return ""

    await _wait(context, behind)


async def _wait(context: Context, behind: Callable[[], str]) -> None:
    """Wait until nothing is behind; raise ``UnavailableError`` when that takes too long."""
    deadline_s = time.monotonic() + CATCH_UP_S_MAX
    said = False
    while what := await asyncio.to_thread(behind):
        if not said:
            context.say(f"waiting for history: {what}")
        said = True
        if time.monotonic() > deadline_s:
            raise UnavailableError(
                f"history has not caught up within {CATCH_UP_S_MAX:.0f} s: {what}; "
                "is `tokenpools history` running?"
            )
        await asyncio.sleep(POLL_S)


async def _raw(
    context: Context,
    cuts: Mapping[int, Cut],
    *,
    interval: Interval | None = None,
    later: Mapping[Window, tuple[int, Version]] | None = None,
) -> list[RawPart]:
    scopes = [
        Scope(
            partition=partition,
            cut=cut,
            epoch=context.specified.epoch,
            interval=interval,
            pool=context.wanted.pool,
            later={
                window: version
                for window, (where, version) in (later or {}).items()
                if where == partition
            },
            stored_before_us=context.specified.future_us_max,
        )
        for partition, cut in sorted(cuts.items())
    ]
    return await read_raw(context.kafka, scopes, say=context.say)


async def _clock_us(context: Context, *, now_us: Callable[[], int]) -> int:
    """Return up to when everything that was emitted is counted: now, if nothing waits."""
    topic = context.kafka.topic(USAGE)
    clock_us = now_us()
    bounds = await log_bounds(context.kafka, topic, range(context.kafka.partitions))
    for partition, each in context.ledger.folded.items():
        if each.cut.epoch == context.specified.epoch and each.cut.offset + 1 < bounds[partition][1]:
            clock_us = min(clock_us, each.stored_us)
    return clock_us


def _lines(
    context: Context,
    parts: list[RawPart],
    ledger: Mapping[Key, Counted],
    clickhouse: Mapping[Key, Counted],
    in_range: Mapping[Key, Counted],
) -> tuple[Line, ...]:
    kafka: dict[Key, Counted] = {}
    for part in parts:
        add(kafka, part.sums)
    return lines_of(
        kafka=kafka,
        ledger=ledger,
        clickhouse=clickhouse,
        in_range=in_range,
        complete={part.partition: part.complete for part in parts},
        partitions=context.kafka.partitions,
    )


def _starts(context: Context, parts: list[RawPart]) -> dict[int, Cut]:
    epoch = context.specified.epoch
    return {
        part.partition: Cut(0 if part.complete else epoch, part.start if not part.complete else 0)
        for part in parts
    }


def _furthest(
    cuts: Mapping[int, Cut], later: Mapping[Window, tuple[int, Version]]
) -> dict[int, Cut]:
    furthest = dict(cuts)
    for partition, version in later.values():
        furthest[partition] = max(
            furthest.get(partition, Cut(0, -1)), Cut(version.epoch, version.offset)
        )
    return furthest


def _notes(parts: list[RawPart]) -> tuple[str, ...]:
    notes = []
    for part in parts:
        if part.complete:
            continue
        if part.base is None:
            notes.append(
                f"kafka: partition {part.partition} can no longer be recomputed at all: no verdict "
                "of this epoch is left of it"
            )
        else:
            notes.append(
                f"kafka: `usage` partition {part.partition} can be recomputed from offset "
                f"{part.start:,} only; what came before is compared between ledger and ClickHouse"
            )
    return tuple(notes)
