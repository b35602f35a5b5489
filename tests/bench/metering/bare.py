"""The ceiling: a bare aiokafka loop around the ledger's own fold, in a process of its own.

What a good engineer would write without Faust: ``getmany`` brings what was fetched, each
partition's records are folded at once, what they change goes to the changelog as one acknowledged
record batch, the next fold does not wait for that, and what was acknowledged is committed once a
second.  Fetch sizes, waits and compression are the worker's own.  It has no recovery, standby or
rebalance, and publishes neither verdicts nor rollups.

    python -m tests.bench.metering.bare <options as JSON>
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.pools import Pool
from schemas.topics import USAGE
from streams.compression import best_compression
from streams.core.ledger import fold
from streams.core.outcome import Place, States, apply
from streams.core.restore import changes_of
from streams.kafka import RECORD_BATCH_BYTES_MAX, client_kwargs
from streams.settings import Settings
from tests.bench.metering.child import Job
from tests.bench.metering.traffic import specs_of

IN_FLIGHT: Final = 64
SESSION_MS: Final = 60_000
"""It has nobody to give its partitions to, on a machine that may be busy."""
COMMIT_S: Final = 1.0
GENERATION: Final = 1


class Bare:
    """One process that drains ``usage``."""

    def __init__(self, job: Job) -> None:
        settings = Settings(kafka=job.options)
        self._poll_wait_ms = settings.poll_wait_ms
        self._changelog = job.options.topic(job.changelog)
        self._partitions = job.options.partitions
        self._specs: dict[str, Pool] = specs_of(job.traffic)
        self._states: dict[int, States] = {}
        self._acknowledged: dict[TopicPartition, int] = {}
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._writes: set[asyncio.Task[None]] = set()
        self._consumer = AIOKafkaConsumer(
            job.options.topic(USAGE),
            **client_kwargs(job.options),
            group_id=job.options.group("bare"),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=None,
            max_partition_fetch_bytes=settings.partition_bytes_max,
            fetch_max_bytes=settings.poll_bytes_max,
            fetch_max_wait_ms=settings.poll_wait_ms,
            fetch_min_bytes=settings.poll_bytes_min,
            session_timeout_ms=SESSION_MS,
        )
        self._producer = AIOKafkaProducer(
            **client_kwargs(job.options),
            acks="all",
            enable_idempotence=True,
            compression_type=best_compression(),
            max_batch_size=RECORD_BATCH_BYTES_MAX,
            max_request_size=RECORD_BATCH_BYTES_MAX,
        )

    async def run(self) -> None:
        """Drain until the process is ended."""
        async with self._producer, self._consumer, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._commit())
            while True:
                polled = await self._consumer.getmany(timeout_ms=self._poll_wait_ms)
                for tp, records in polled.items():
                    await self._fold(tp, records)

    async def _fold(self, tp: TopicPartition, records: Sequence[Any]) -> None:
        states = self._states.setdefault(tp.partition, States())
        place = Place(tp.partition, self._partitions, generation=GENERATION)
        outcome = fold(states, records, specs=self._specs, place=place)
        changes = changes_of(outcome, states, generations={}, generation=GENERATION)
        apply(states, outcome)
        batch = self._producer.create_batch()
        for key, value in changes:
            assert batch.append(key=key, value=value, timestamp=None) is not None
        batch.close()
        await self._room.acquire()
        sent = await self._producer.send_batch(batch, self._changelog, partition=tp.partition)
        write = asyncio.create_task(self._acknowledge(sent, tp, records[-1].offset + 1))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        await asyncio.sleep(0)  # let the next fetch and the writes go on

    async def _acknowledge(self, sent: asyncio.Future[Any], tp: TopicPartition, end: int) -> None:
        await sent
        self._acknowledged[tp] = end
        self._room.release()

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            if self._acknowledged:
                await self._consumer.commit(dict(self._acknowledged))


async def main() -> None:
    """Drain what the argument names."""
    await Bare(msgspec.json.decode(sys.argv[1], type=Job)).run()


if __name__ == "__main__":
    asyncio.run(main())
