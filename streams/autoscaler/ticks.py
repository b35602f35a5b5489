"""Ticks: the topic ``ticks`` followed from the last few minutes on, and the specs on ``pools``.

Every autoscaler follows them, the waiting ones too, so that a takeover starts with a full window.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.connections import KafkaOptions
from schemas.errors import MalformedEventError, SpecError
from schemas.pools import Pool, compile_pool
from schemas.specs import PoolRecord, decode_pools
from schemas.ticks import Tick
from schemas.topics import TICKS
from schemas.units import US_PER_S
from schemas.wire import decode
from streams.autoscaler.window import Window
from streams.kafka import client_kwargs, connected
from streams.topic_logs import Record

log = logging.getLogger(__name__)

POLL_MS: Final = 500
LOOK_BACK_S_MAX: Final = 600
"""How far before its start an autoscaler reads ``ticks``."""
UNKNOWN_WINDOW_S: Final = 60
"""The window of a pool whose spec has not been read yet."""


Clock = Callable[[], int]
"""Microseconds that never go back."""


class Pools:
    """The specs by pool, as ``pools`` says now."""

    def __init__(self) -> None:
        self.by_name: dict[str, Pool] = {}

    def __call__(self, record: Record) -> None:
        """Handle one record of ``pools``; a spec that does not compile leaves the last one."""
        name = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            self.by_name.pop(name, None)
            return
        try:
            message = decode_pools(record.value)
            if isinstance(message, PoolRecord):
                pool = compile_pool(message, version=record.offset)
                self.by_name[pool.name] = pool
        except (MalformedEventError, SpecError) as error:
            log.warning("pool %s is ignored: %s", name, error)


class TickFeed:
    """Windows of ticks by pool, filled from the topic without a group."""

    def __init__(
        self, options: KafkaOptions, pools: Pools, *, ticks_max: int, clock: Clock
    ) -> None:
        self.windows: dict[str, Window] = {}
        self._options = options
        self._pools = pools
        self._ticks_max = ticks_max
        self._consumer = AIOKafkaConsumer(
            **client_kwargs(options),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="latest",
        )
        self._task: asyncio.Task[None] | None = None
        self._clock = clock
        self._live_from: dict[TopicPartition, int] = {}
        """Where each partition ended at the start: what stands before it says nothing of now."""

    async def start(self) -> None:
        """Connect (with back-off) and read on from the last few minutes."""
        await connected(self._options, self._consumer.start)
        topic = self._options.topic(TICKS)
        partitions = [TopicPartition(topic, p) for p in range(self._options.partitions)]
        self._consumer.assign(partitions)
        since_ms = self._clock() // 1_000 - LOOK_BACK_S_MAX * 1_000
        self._live_from = await self._consumer.end_offsets(partitions)
        starts = await self._consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for partition, start in starts.items():
            if start is None:
                await self._consumer.seek_to_end(partition)
            else:
                self._consumer.seek(partition, start.offset)
        self._task = asyncio.create_task(self._run(), name="follow ticks")

    async def stop(self) -> None:
        """Stop reading and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    def check(self) -> None:
        """Raise what ended the reading, if anything did."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def _run(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=POLL_MS)
            for partition, records in batches.items():
                for record in records:
                    self._add(record, live=record.offset >= self._live_from[partition])

    def _add(self, record: Any, *, live: bool) -> None:
        try:
            tick = decode(record.value or b"", Tick)
        except MalformedEventError as error:
            log.warning("tick at offset %d is ignored: %s", record.offset, error)
            return
        pool = self._pools.by_name.get(tick.pool)
        window_s = UNKNOWN_WINDOW_S if pool is None else pool.scaling.window_seconds
        window = self.windows.setdefault(tick.pool, Window(ticks_max=self._ticks_max))
        received_us = self._clock() if live else None
        window.add(tick, window_us=window_s * US_PER_S, received_us=received_us)
