"""The feed: records of all topics through one consumer group, and commits that never lose one.

What was read before a rebalance is never committed after it: the generation rises with every
change of the assignment, the reader drops what it holds, and the group's committed offsets say
where to go on.  Records are then read again, which is harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError

from schemas.connections import KafkaOptions
from streams.kafka import client_kwargs, connected

log = logging.getLogger(__name__)

FETCH_BYTES_MIN: Final = 65_536
FETCH_WAIT_MS: Final = 100
"""The broker gathers so many bytes, or waits so long, before it answers."""
FETCH_BYTES_MAX: Final = 16 << 20
POLL_RECORDS_MAX: Final = 10_000

Polled = dict[tuple[str, int], Sequence[Any]]


class Feed(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """A group member that reads ``topics`` (names without the prefix)."""

    def __init__(
        self, options: KafkaOptions, *, group: str, topics: Sequence[str], session_timeout_ms: int
    ) -> None:
        self.generation = 0
        self._options = options
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

    def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Partitions come: reading starts where the group committed last."""
        self.generation += 1

    async def poll(self, *, timeout_ms: int) -> Polled:
        """Return records by (topic, partition), all of one generation; nothing after a change."""
        generation = self.generation
        polled = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=POLL_RECORDS_MAX)
        if polled and generation != self.generation:
            await self._rewind()
            return {}
        return {(self._names[tp.topic], tp.partition): records for tp, records in polled.items()}

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
        return True

    async def _rewind(self) -> None:
        """Go back to what the group committed, in every partition."""
        for tp in self._consumer.assignment():
            committed = await self._consumer.committed(tp)
            if committed is None:
                await self._consumer.seek_to_beginning(tp)
            else:
                self._consumer.seek(tp, committed)
