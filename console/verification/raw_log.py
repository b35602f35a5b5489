"""What do the raw events of Kafka sum up to?  One partition at a time, in the order of its log.

Nothing is judged here: an event counts when ``verdicts`` has judged past it and names no verdict.
Memory: the sums by pool and entitlement, and 8 bytes for each event that was not accepted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from console.verification.judgement import Judgement, code_of
from schemas.connections import KafkaOptions
from schemas.errors import MalformedEventError, RecoverableError
from schemas.specs import FIRST_EPOCH
from schemas.topics import USAGE, VERDICTS
from schemas.units import US_PER_MS, TokenCounts
from schemas.usage import UsageEvent, decode_record
from schemas.verdicts import VerdictCounts, decode_verdict
from streams.history.queries import Counted
from streams.history.raw_sums import WINDOW_US, Cut, Interval, Key, Version, Window
from streams.kafka import client_kwargs, unavailable

POLL_MS: Final = 500
POLL_RECORDS_MAX: Final = 5_000
FETCH_WAIT_MS: Final = 10
"""What is read is there already; the broker need not wait for more."""
SILENT_S_MAX: Final = 60.0
SAY_EVERY_S: Final = 2.0
VERDICT_SKEW_MS: Final = 600_000
"""A verdict may carry a broker's time so much earlier than that of its event."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What of a partition is summed."""

    partition: int
    cut: Cut
    epoch: int
    """Of the log that Kafka holds; a cut of an older epoch has no log any more."""
    interval: Interval | None = None
    pool: str | None = None
    later: Mapping[Window, Version] = field(default_factory=dict)
    """Windows that count beyond the cut, through these positions."""
    stored_before_us: int = 0
    """How long before its event time an event of the interval may be stored."""

    @property
    def end(self) -> int:
        """The offset after the last record that can count."""
        ends = [version.offset + 1 for version in self.later.values()]
        return max([self.cut.offset + 1, *ends])

    def counts(self, event: UsageEvent, offset: int, index: int) -> bool:
        """Say whether an accepted event is in the sums."""
        data = event.data
        if self.pool is not None and data.pool != self.pool:
            return False
        if self.interval is None:
            return offset <= self.cut.offset
        if not self.interval[0] <= event.event_us < self.interval[1]:
            return False
        if offset <= self.cut.offset:
            return True
        start_us = event.event_us // WINDOW_US * WINDOW_US
        version = self.later.get(Window(data.pool, data.entitlement, start_us))
        return version is not None and Version(self.epoch, offset, index) <= version


@dataclass(frozen=True, kw_only=True)
class RawPart:
    """One partition as Kafka still has it."""

    partition: int
    start: int
    """The first offset that could be recomputed; the log may begin there."""
    complete: bool
    """Whether everything that counts can be recomputed."""
    cut: int
    judged_through: int
    events: int
    """Events decoded from ``start`` through ``cut``, malformed ones included."""
    counts: VerdictCounts
    """The same by verdict."""
    base: VerdictCounts | None
    """Counts of everything before ``start``; None: not known."""
    sums: dict[Key, Counted]


async def read_raw(options: KafkaOptions, scopes: Sequence[Scope], *, say: Say) -> list[RawPart]:
    """Read the partitions one after the other; raise ``UnavailableError`` without a broker."""
    consumer = AIOKafkaConsumer(
        **client_kwargs(options),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_poll_records=POLL_RECORDS_MAX,
    )
    try:
        await consumer.start()
        log = Log(options, consumer, say=say)
        return [await _read(log, scope) for scope in scopes]
    except (KafkaError, OSError) as error:
        raise unavailable(options, error) from error
    finally:
        await consumer.stop()


class Log:
    """Reads bounded parts of one partition after the other, and says how far it is."""

    def __init__(self, options: KafkaOptions, consumer: AIOKafkaConsumer, *, say: Say) -> None:
        self._options = options
        self._consumer = consumer
        self._say = say

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the end of the log."""
        at = TopicPartition(self._options.topic(topic), partition)
        begin = (await self._consumer.beginning_offsets([at]))[at]
        end = (await self._consumer.end_offsets([at]))[at]
        return int(begin), int(end)

    async def since(self, topic: str, partition: int, *, stored_ms: int, end: int) -> int:
        """Return the first offset stored at or after the time; the end when there is none."""
        at = TopicPartition(self._options.topic(topic), partition)
        found = (await self._consumer.offsets_for_times({at: max(0, stored_ms)}))[at]
        return end if found is None else int(found.offset)

    async def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[Sequence[Any]]:
        """Yield the records from ``start`` to ``end`` (exclusive), some at a time."""
        if start >= end:
            return
        at = TopicPartition(self._options.topic(topic), partition)
        self._consumer.assign([at])
        self._consumer.seek(at, start)
        said_s = heard_s = time.monotonic()
        position = start
        while position < end:
            polled = (await self._consumer.getmany(timeout_ms=POLL_MS)).get(at, [])
            if polled:
                yield [record for record in polled if record.offset < end]
            before, position = position, await self._consumer.position(at)
            now_s = time.monotonic()
            heard_s = now_s if position > before else heard_s
            if now_s - heard_s > SILENT_S_MAX:
                raise RecoverableError(f"no answer from {at.topic} within {SILENT_S_MAX:.0f} s")
            if now_s - said_s > SAY_EVERY_S:
                said_s = now_s
                self._say(f"{topic} partition {partition}: offset {position:,} of {end:,}")


async def _read(log: Log, scope: Scope) -> RawPart:
    if scope.cut.epoch != scope.epoch:
        return _nothing(scope)
    wanted, whole = await _wanted(log, scope)
    judgement = await _judgement(log, scope, wanted=wanted)
    tally = Tally(scope, judgement)
    start, end = judgement.start, min(scope.end, judgement.through + 1)
    if judgement.base is None:
        return _nothing(scope)
    async for records in log.read(USAGE, scope.partition, start, end):
        for record in records:
            tally.take(record)
        await asyncio.sleep(0)
    kinds = {kind.value: count for kind, count in judgement.kinds.items()}
    accepted = tally.events - sum(kinds.values())
    return RawPart(
        partition=scope.partition,
        start=start,
        complete=whole and start == wanted,
        cut=scope.cut.offset,
        judged_through=judgement.through,
        events=tally.events,
        counts=VerdictCounts(**{**kinds, "accepted": accepted}),
        base=judgement.base,
        sums=tally.sums(),
    )


async def _wanted(log: Log, scope: Scope) -> tuple[int, bool]:
    """Return the first offset to read, and whether the log still has everything that counts."""
    begin, end = await log.bounds(USAGE, scope.partition)
    if scope.interval is None:
        return begin, begin == 0 and scope.epoch == FIRST_EPOCH
    stored_ms = (scope.interval[0] - scope.stored_before_us) // US_PER_MS
    since = await log.since(USAGE, scope.partition, stored_ms=stored_ms, end=end)
    # A log that was cut may have held events of the interval before its first record.
    return since, since > begin or (begin == 0 and scope.epoch == FIRST_EPOCH)


async def _judgement(log: Log, scope: Scope, *, wanted: int) -> Judgement:
    begin, end = await log.bounds(VERDICTS, scope.partition)
    from_zero = begin == 0 and wanted == 0 and scope.epoch == FIRST_EPOCH
    judgement = Judgement(
        epoch=scope.epoch, wanted=wanted, whole=from_zero, counts=scope.interval is None
    )
    judgement.count_through(scope.cut.offset)
    start = begin
    if scope.interval is not None and not from_zero:
        stored_ms = (scope.interval[0] - scope.stored_before_us) // US_PER_MS - VERDICT_SKEW_MS
        start = await log.since(VERDICTS, scope.partition, stored_ms=stored_ms, end=end)
    async for records in log.read(VERDICTS, scope.partition, start, end):
        for record in records:
            _take(judgement, record)
        if judgement.through + 1 >= scope.end:
            break
    return judgement


def _take(judgement: Judgement, record: Any) -> None:
    try:
        judgement.take(decode_verdict(record.value or b""))
    except MalformedEventError:
        return  # nobody else can read it either


class Tally:
    """Adds up what was accepted of one partition, in the order of its log."""

    def __init__(self, scope: Scope, judgement: Judgement) -> None:
        self.events = 0
        self._scope = scope
        self._refused = judgement.refused
        self._next = 0
        self._sums: dict[Key, list[int]] = {}

    def take(self, record: Any) -> None:
        """Take the next record."""
        offset = record.offset
        events = decode_record(record.value, record.headers)
        self.events += len(events) if offset <= self._scope.cut.offset else 0
        for index, event in enumerate(events):
            if self._is_refused(code_of(offset, index)) or not isinstance(event, UsageEvent):
                continue
            if self._scope.counts(event, offset, index):
                self._add(event)

    def sums(self) -> dict[Key, Counted]:
        """Return the sums so far."""
        return {
            key: Counted(tokens=TokenCounts(*numbers[:5]), events=numbers[5])
            for key, numbers in self._sums.items()
        }

    def _is_refused(self, code: int) -> bool:
        refused = self._refused
        while self._next < len(refused) and refused[self._next] < code:
            self._next += 1
        return self._next < len(refused) and refused[self._next] == code

    def _add(self, event: UsageEvent) -> None:
        data = event.data
        numbers = self._sums.setdefault((data.pool, data.entitlement), [0] * 6)
        numbers[0] += data.input_tokens
        numbers[1] += data.cache_read_tokens
        numbers[2] += data.cache_write_tokens
        numbers[3] += data.output_tokens
        numbers[4] += data.reasoning_tokens
        numbers[5] += 1


def _nothing(scope: Scope) -> RawPart:
    """Return a part of which Kafka has nothing that can be compared any more."""
    return RawPart(
        partition=scope.partition,
        start=scope.cut.offset + 1,
        complete=False,
        cut=scope.cut.offset,
        judged_through=-1,
        events=0,
        counts=VerdictCounts(),
        base=None,
        sums={},
    )
