"""The sink: one batch is written in a thread while the next one is read; then it is committed.

While ClickHouse is away the batch is tried again for ever, with pauses that double up to a bound,
and nothing more is read than one further batch.  It is said once, and once more when it is back.
Meanwhile the group is told that this member lives, so that it keeps its partitions.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

from schemas.errors import UnavailableError
from streams.history import metrics
from streams.history.batch import Batch
from streams.history.feed import Feed
from streams.history.settings import Settings
from streams.history.writer import Writer

log = logging.getLogger(__name__)

STAYS: Final = 10
"""How many times per ``poll_interval_ms_max`` the group hears from us while a write takes long."""
RECOUNT_S: Final = 5.0
"""How often ordered windows are looked at while nothing is written."""


class Sink:
    """Takes batches in order; at most one is being written."""

    def __init__(self, settings: Settings, feed: Feed) -> None:
        self._settings = settings
        self._feed = feed
        self._writer = Writer(settings.clickhouse)
        self._flight: asyncio.Task[None] | None = None
        self._generation = feed.generation
        self._recounted_s = time.monotonic()
        self.writing: Batch | None = None
        """The batch that is being written."""
        self.rows_taken = 0

    async def take(self, batch: Batch, *, generation: int) -> None:
        """Wait for the batch before this one, then begin to write this one."""
        await self.settle()
        if generation != self._generation:
            self._writer.orders.look_again()
            self._generation = generation
        self.writing = batch
        self.rows_taken += batch.rows_count
        self._flight = asyncio.create_task(self._deliver(batch, generation), name="history write")
        await asyncio.sleep(0)  # it begins now, and not when whoever reads next waits

    async def settle(self) -> None:
        """Return when nothing is being written; raises what the write raised."""
        flight = self._flight
        stay_s = self._settings.poll_interval_ms_max / STAYS / 1_000
        while flight is not None and not flight.done():
            await asyncio.wait({flight}, timeout=stay_s)
            if not flight.done():
                await self._feed.stay()
        if flight is not None:
            self._flight = None
            flight.result()

    async def recount(self) -> None:
        """Count the windows that waited for judgement, now and then, when nothing is written."""
        now_s = time.monotonic()
        if self.writing or not self._writer.orders.waiting or now_s < self._recounted_s + RECOUNT_S:
            return
        self._recounted_s = now_s
        await self.settle()
        with suppress(UnavailableError):  # the next batch says it
            await asyncio.to_thread(self._writer.recount)

    async def close(self) -> None:
        """Give up what is being written and disconnect; it will be read again."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)
        self._writer.close()

    async def _deliver(self, batch: Batch, generation: int) -> None:
        with metrics.WRITE_SECONDS.time():
            await self._write(batch)
        self.writing = None
        metrics.ORDERS_WAITING.set(self._writer.orders.waiting)
        _count(batch)
        if not await self._feed.commit(batch.reaches, generation=generation):
            metrics.REREADS.inc()

    async def _write(self, batch: Batch) -> None:
        """Return when ClickHouse has acknowledged every row, however long that takes."""
        since_s, pause_ms = time.monotonic(), 0
        while True:
            try:
                await asyncio.to_thread(self._writer.write, batch)
            except UnavailableError as error:
                if not pause_ms:
                    log.warning("%s; %d rows wait, trying again", error, batch.rows_count)
                pause_ms = self._pause_ms(pause_ms)
                metrics.CLICKHOUSE_UP.set(0)
                metrics.RETRIES.inc()
                await asyncio.sleep(pause_ms / 1_000)
                continue
            if pause_ms:
                log.warning("ClickHouse is back after %.1f s", time.monotonic() - since_s)
            metrics.CLICKHOUSE_UP.set(1)
            return

    def _pause_ms(self, before_ms: int) -> int:
        doubled = max(2 * before_ms, self._settings.backoff_ms_min)
        return min(doubled, self._settings.backoff_ms_max)


def _count(batch: Batch) -> None:
    for table, rows in batch.rows_by_table.items():
        metrics.ROWS.labels(table).inc(rows)
    metrics.VOID.inc(batch.void)
    for topic, count in batch.malformed.items():
        metrics.MALFORMED.labels(topic).inc(count)
    for (topic, partition), offset in batch.reaches.items():
        metrics.READ_OFFSET.labels(topic, str(partition)).set(offset)
