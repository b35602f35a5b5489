"""Reading: the batch that is being filled, and when it is full.

At most two batches exist: this one and the one that is being written.  A batch takes the records of
a poll piece by piece, so it ends at most one piece beyond its bounds; while the batch before it is
being written nothing more is polled than what fills this one.  So history holds at most

    2 x (batch_bytes_max + PIECE_BYTES + one record) + one poll

of record values, however long ClickHouse is away.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from streams.history import metrics
from streams.history.batch import Batch
from streams.history.feed import Feed
from streams.history.settings import Settings
from streams.history.sink import Sink
from streams.history.usage_columns import KafkaRecord

PIECE_BYTES: Final = 262_144
"""Values of records that a batch takes before its bounds are looked at again."""


class Reading:
    """Fills batches from a feed and hands them to a sink."""

    def __init__(self, settings: Settings, feed: Feed, sink: Sink, *, epoch: int) -> None:
        self._settings = settings
        self._feed = feed
        self._sink = sink
        self._epoch = epoch
        self._renew()

    @property
    def rows_waiting(self) -> int:
        """Rows that were read and not handed over yet."""
        return self._batch.rows_count

    @property
    def bytes_waiting(self) -> int:
        """Values of the records that were read and not handed over yet."""
        return self._batch.bytes_count

    async def step(self, *, poll_ms: int) -> None:
        """Poll once, and hand batches over as they are full or old enough."""
        polled = await self._feed.poll(timeout_ms=poll_ms)
        generation = self._feed.generation
        if self._generation != generation:
            self._renew()
        for (topic, partition), records in polled.items():
            for piece in pieces(records, bytes_max=PIECE_BYTES):
                self._batch.add(topic, partition, piece)
                if self._is_full():
                    await self._hand_over()
                if self._feed.generation != generation:
                    return  # the group has moved on: the rest will be read again
        if self._batch.reaches and self._is_old():
            await self._hand_over()
        if not polled:
            await self._sink.recount()

    async def finish(self) -> None:
        """Write what is left and return when it is acknowledged."""
        if self._batch.reaches:
            await self._hand_over()
        await self._sink.settle()

    async def _hand_over(self) -> None:
        await self._sink.take(self._batch, generation=self._generation)
        self._renew()

    def _renew(self) -> None:
        self._generation = self._feed.generation
        self._batch = Batch(epoch=self._epoch, generation=self._generation)
        self._since_s = time.monotonic()

    def _is_full(self) -> bool:
        return (
            self._batch.rows_count >= self._settings.batch_rows_max
            or self._batch.bytes_count >= self._settings.batch_bytes_max
        )

    def _is_old(self) -> bool:
        return (time.monotonic() - self._since_s) * 1_000 >= self._settings.flush_ms

    def observe(self) -> None:
        """Export what is held, how old it is, and how far behind the log it is."""
        held = [batch for batch in (self._batch, self._sink.writing) if batch is not None]
        oldest_ms = min((batch.oldest_ms for batch in held if batch.oldest_ms), default=0)
        age_s = time.time() - oldest_ms / 1_000 if oldest_ms else 0
        metrics.HELD_BYTES.set(sum(batch.bytes_count for batch in held))
        metrics.OLDEST_AGE.set(max(age_s, 0))
        metrics.observe_lag(self._feed.lag())


def pieces(records: Sequence[KafkaRecord], *, bytes_max: int) -> Iterator[Sequence[KafkaRecord]]:
    """Yield the records in their order, each piece as long as its values stay below the bound."""
    start = held = 0
    for number, record in enumerate(records, 1):
        held += len(record.value or b"")
        if held >= bytes_max:
            yield records[start:number]
            start, held = number, 0
    if start < len(records):
        yield records[start:]
