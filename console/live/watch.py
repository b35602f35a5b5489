"""Where does the live view get its messages?  From the loop's own topics, read without a group.

One consumer reads the tail of the streams of events (ticks, reports, usage, decisions to scale) and
the whole of the compacted topics.  ``usage`` is sampled: of one poll at most
``USAGE_PER_POLL_MAX`` events are looked at, so that watching a busy loop stays cheap.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from console.live.view import LoopView
from schemas.connections import KafkaOptions
from schemas.errors import MalformedEventError
from schemas.pools import compile_pool
from schemas.reports import AdmitterReport
from schemas.scaling import ScaleDecision
from schemas.specs import PoolRecord, decode_pools
from schemas.state import AdmissionState
from schemas.ticks import Tick
from schemas.topics import (
    ADMISSION_STATE,
    ADMITTER_REPORTS,
    POOLS,
    SCALE_DECISIONS,
    TICKS,
    USAGE,
)
from schemas.usage import UsageEvent, decode_record
from schemas.wire import decode

TAILED: Final = (TICKS, ADMITTER_REPORTS, USAGE)
"""Read from now on; the others from their beginning."""

WATCHED: Final = (POOLS, ADMISSION_STATE, SCALE_DECISIONS, *TAILED)
POLL_MS: Final = 200
RETRY_S: Final = 1.0
USAGE_PER_POLL_MAX: Final = 1_000
RECORDS_PER_POLL_MAX: Final = 5_000


class Watcher:
    """Feeds a ``LoopView`` from Kafka until it is stopped."""

    def __init__(self, view: LoopView, options: KafkaOptions, *, client: Mapping[str, Any]) -> None:
        self._view = view
        self._options = options
        self._client = client
        self._readers = _readers(view)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop`` is set; a broker that goes away is named and waited for."""
        while not stop.is_set():
            try:
                await self._read(stop)
            except KafkaError as error:
                self._view.note(
                    f"Kafka at {self._options.bootstrap} does not answer ({error}); trying again"
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), RETRY_S)

    async def _read(self, stop: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer(**self._client, group_id=None, enable_auto_commit=False)
        try:
            await consumer.start()
            await self._seek(consumer)
            while not stop.is_set():
                await self._poll(consumer)
        finally:
            await consumer.stop()

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        names = {self._options.topic(name): name for name in WATCHED}
        partitions = [
            TopicPartition(topic, number)
            for topic in names
            for number in range(self._options.partitions)
        ]
        consumer.assign(partitions)
        tailed = [one for one in partitions if names[one.topic] in TAILED]
        whole = [one for one in partitions if names[one.topic] not in TAILED]
        await consumer.seek_to_beginning(*whole)
        await consumer.seek_to_end(*tailed)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL_MAX)
        prefix = len(self._options.topic_prefix)
        for partition, records in batches.items():
            name = partition.topic[prefix:]
            kept = records[-USAGE_PER_POLL_MAX:] if name == USAGE else records
            for record in kept:
                self._see(name, record.value, record.headers)

    def _see(self, name: str, value: bytes | None, headers: Any) -> None:
        if name == USAGE:
            for event in decode_record(value, headers):
                if isinstance(event, UsageEvent):
                    self._view.see(event)
        elif value is not None:
            try:
                self._readers[name](value)
            except MalformedEventError as error:
                self._view.note(f"unreadable record on {name}: {error}")


def _readers(view: LoopView) -> dict[str, Callable[[bytes], None]]:
    def pools(value: bytes) -> None:
        record = decode_pools(value)
        if isinstance(record, PoolRecord):
            view.learn(compile_pool(record))

    return {
        POOLS: pools,
        TICKS: lambda value: view.see(decode(value, Tick)),
        ADMISSION_STATE: lambda value: view.see(decode(value, AdmissionState)),
        ADMITTER_REPORTS: lambda value: view.see(decode(value, AdmitterReport)),
        SCALE_DECISIONS: lambda value: view.see(decode(value, ScaleDecision)),
    }
