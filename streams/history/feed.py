"""The feed: records of all topics through one consumer group, and commits that never lose one.

What was read before a rebalance is never committed after it: the generation rises with every
change of the assignment, the reader drops what it holds, and the group's committed offsets say
where to go on.  Records are then read again, which is harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError

from schemas.connections import KafkaOptions
from streams.fetching import poll
from streams.kafka import client_kwargs, connected

log = logging.getLogger(__name__)

FETCH_BYTES_MIN: Final = 65_536
FETCH_WAIT_MS: Final = 100
"""The broker gathers so many bytes, or waits so long, before it answers."""
FETCH_BYTES_MAX: Final = 16 << 20
POLL_RECORDS_MIN: Final = 100
POLL_RECORDS_MAX: Final = 10_000
POLL_BYTES: Final = 8 << 20
"""A poll asks for as many records as held so many bytes the last time."""

Polled = dict[tuple[str, int], Sequence[Any]]


class Feed(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """A group member that reads ``topics`` (names without the prefix).

    ``whole_batches``: take whole record batches, as ``streams.fetching`` does.
    """

    def __init__(
        self,
        options: KafkaOptions,
        *,
        group: str,
        topics: Sequence[str],
        session_timeout_ms: int,
        poll_interval_ms_max: int = 300_000,
        whole_batches: bool = False,
    ) -> None:
        self.generation = 0
        self._records_max = POLL_RECORDS_MIN
        self._next: dict[TopicPartition, int] = {}
        """The first offset of each partition that is not committed yet."""
        self._options = options
        self._whole_batches = whole_batches
        self._names = {options.topic(topic): topic for topic in topics}
        self._consumer = AIOKafkaConsumer(
            **client_kwargs(options),
            group_id=options.group(group),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_BYTES_MIN,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_BYTES_MAX,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // 5,
            max_poll_interval_ms=poll_interval_ms_max,
        )

    async def start(self) -> None:
        """Connect (with back-off) and join the group."""
        await connected(self._options, self._consumer.start)
        self._consumer.subscribe(list(self._names), listener=self)

    async def stop(self) -> None:
        """Leave the group and disconnect."""
        await self._consumer.stop()

    def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Partitions go: what was read of them must not be committed any more."""
        self.generation += 1
        self._next.clear()

    def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Partitions come: reading starts where the group committed last."""
        self.generation += 1

    async def poll(self, *, timeout_ms: int) -> Polled:
        """Return records by (topic, partition), all of one generation; nothing after a change."""
        generation = self.generation
        polled = await self._fetched(timeout_ms)
        if polled and generation != self.generation:
            await self._rewind()
            return {}
        for tp, records in polled.items():
            self._next.setdefault(tp, records[0].offset)
        return {(self._names[tp.topic], tp.partition): records for tp, records in polled.items()}

    async def _fetched(self, timeout_ms: int) -> dict[TopicPartition, Sequence[Any]]:
        """Return about ``POLL_BYTES`` of records, whole record batches if that is wanted."""
        consumer = self._consumer
        if self._whole_batches:
            consumer._coordinator.check_errors()
            fetched = await poll(
                consumer,
                consumer.assignment(),
                timeout_s=timeout_ms / 1_000,
                bytes_max=POLL_BYTES,
            )
            return {tp: each.records for tp, each in fetched.items()}
        polled = await consumer.getmany(timeout_ms=timeout_ms, max_records=self._records_max)
        self._records_max = records_in(POLL_BYTES, polled.values()) or self._records_max
        return dict(polled)

    async def stay(self) -> None:
        """Tell the group that this member lives, without taking a record."""
        assigned = self._consumer.assignment()
        self._consumer.pause(*assigned)
        for tp, records in (await self._consumer.getmany(timeout_ms=0)).items():
            self._consumer.seek(tp, records[0].offset)
        self._consumer.resume(*(assigned & self._consumer.assignment()))

    async def commit(self, reaches: Mapping[tuple[str, int], int], *, generation: int) -> bool:
        """Commit what follows these offsets; False when the group has moved on meanwhile."""
        if generation != self.generation:
            return False
        offsets = {
            TopicPartition(self._options.topic(topic), partition): offset + 1
            for (topic, partition), offset in reaches.items()
        }
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("commit refused, the group has rebalanced: %r", error)
            return False
        self._next |= {tp: offset for tp, offset in offsets.items() if tp in self._next}
        return True

    def lag(self) -> dict[tuple[str, int], int]:
        """Return how many records of each partition are on the broker and not committed."""
        ends = ((tp, offset, self._consumer.highwater(tp)) for tp, offset in self._next.items())
        return {
            (self._names[tp.topic], tp.partition): max(end - offset, 0)
            for tp, offset, end in ends
            if end is not None
        }

    async def _rewind(self) -> None:
        """Go back to what the group committed, in every partition."""
        for tp in self._consumer.assignment():
            committed = await self._consumer.committed(tp)
            if committed is None:
                await self._consumer.seek_to_beginning(tp)
            else:
                self._consumer.seek(tp, committed)


def records_in(bytes_max: int, polled: Iterable[Sequence[Any]]) -> int | None:
    """Return how many records like these hold so many bytes; None: there are none to go by."""
    sizes = [len(record.value or b"") for records in polled for record in records]
    if not sizes:
        return None
    mean = max(sum(sizes) // len(sizes), 1)
    return min(max(bytes_max // mean, POLL_RECORDS_MIN), POLL_RECORDS_MAX)
