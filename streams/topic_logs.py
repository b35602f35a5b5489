"""Topic logs: what a topic holds, read without a group: its bounds, a part, all, or for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.connections import KafkaOptions
from schemas.errors import RecoverableError
from streams.kafka import client_kwargs, connected

POLL_MS: Final = 200
READ_DEADLINE_S: Final = 60.0
POLL_RECORDS_MAX: Final = 2_000


class Record(NamedTuple):
    """One record as it was read; ``timestamp_ms`` is the broker's where the topic says so."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


Handler = Callable[[Record], None]


@asynccontextmanager
async def reader(options: KafkaOptions) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a started consumer without a group, for offsets and bounded reads."""
    consumer = _consumer(options)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


def _consumer(options: KafkaOptions) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_kwargs(options),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=POLL_MS,
        max_poll_records=POLL_RECORDS_MAX,
    )


async def log_bounds(
    options: KafkaOptions, topic: str, partitions: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """Return the first offset and the end of each partition's log."""
    wanted = [TopicPartition(topic, partition) for partition in partitions]
    async with reader(options) as consumer:
        begins = await consumer.beginning_offsets(wanted)
        ends = await consumer.end_offsets(wanted)
    return {each.partition: (begins[each], ends[each]) for each in wanted}


async def read_range(
    options: KafkaOptions, topic: str, *, starts: Mapping[int, int], ends: Mapping[int, int]
) -> AsyncIterator[Record]:
    """Yield the records of each partition from its start to its end offset (exclusive).

    Raises ``RecoverableError`` when no progress is made for ``READ_DEADLINE_S``.
    """
    left = {TopicPartition(topic, p): end for p, end in ends.items() if starts[p] < end}
    if not left:
        return
    async with reader(options) as consumer:
        consumer.assign(list(left))
        for each in left:
            consumer.seek(each, starts[each.partition])
        while left:
            batches = await _poll(consumer, topic)
            for records in batches.values():
                for record in records:
                    if record.offset < ends[record.partition]:
                        yield _record(record)
            for each in [each for each in left if await consumer.position(each) >= left[each]]:
                del left[each]


async def read_whole(
    options: KafkaOptions, topic: str, partitions: Sequence[int]
) -> AsyncIterator[Record]:
    """Yield all that each partition held at this call; raises as ``read_range``."""
    bounds = await log_bounds(options, topic, partitions)
    starts = {partition: begin for partition, (begin, _) in bounds.items()}
    ends = {partition: end for partition, (_, end) in bounds.items()}
    async for record in read_range(options, topic, starts=starts, ends=ends):
        yield record


async def _poll(consumer: AIOKafkaConsumer, topic: str) -> dict[TopicPartition, list[Any]]:
    """Return what one poll brought; positions can pass compacted offsets without a record."""
    try:
        async with asyncio.timeout(READ_DEADLINE_S):
            batches: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=POLL_MS)
            return batches
    except TimeoutError as error:
        raise RecoverableError(f"no answer from {topic} within {READ_DEADLINE_S:.0f} s") from error


def _record(record: Any) -> Record:
    return Record(record.partition, record.offset, record.timestamp, record.key, record.value)


class Follower:
    """Follows a compacted topic from its beginning, all partitions, without a group.

    The handler is called in the event loop, once per record in the order of each partition; a
    value of None is a tombstone.
    """

    def __init__(self, options: KafkaOptions, topic: str, *, handler: Handler) -> None:
        self._options = options
        self._topic = options.topic(topic)
        self._handler = handler
        self._consumer = _consumer(options)
        self._partitions: list[TopicPartition] = []
        self._passed: dict[TopicPartition, int] = {}
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect (with back-off) and begin to read."""
        await connected(self._options, self._consumer.start)
        self._partitions = [
            TopicPartition(self._topic, partition) for partition in range(self._options.partitions)
        ]
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        self._task = asyncio.create_task(self._run(), name=f"follow {self._topic}")

    async def stop(self) -> None:
        """Stop reading and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The reading task; it only ever ends by failing or by ``stop``."""
        return self._task

    async def caught_up(self) -> None:
        """Return once everything that the topic held at this call has been handled."""
        ends = await self._consumer.end_offsets(self._partitions)
        while any(self._passed.get(each, 0) < end for each, end in ends.items()):
            self._moved.clear()
            await self._wait_for_progress()

    async def _wait_for_progress(self) -> None:
        assert self._task is not None
        moved = asyncio.create_task(self._moved.wait())
        done, _ = await asyncio.wait(
            {moved, self._task}, timeout=READ_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED
        )
        moved.cancel()
        if self._task in done:
            self._task.result()
        if not done:
            raise RecoverableError(f"no progress on {self._topic} for {READ_DEADLINE_S:.0f} s")

    async def _run(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=POLL_MS)
            for records in batches.values():
                for record in records:
                    self._handler(_record(record))
            for each in self._partitions:
                self._passed[each] = await self._consumer.position(each)
            self._moved.set()
