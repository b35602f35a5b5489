"""The book: pools and their live capacity, as the topics ``pools`` and ``pool-capacity`` say.

Followed from their beginning; a spec that does not compile is refused loudly and the one before it
stays in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from schemas.capacity import PoolCapacity
from schemas.connections import KafkaOptions
from schemas.errors import MalformedEventError, SpecError
from schemas.pools import Pool, compile_pool
from schemas.specs import EPOCH_KEY, FIRST_EPOCH, EpochRecord, decode_pools
from schemas.topics import POOL_CAPACITY, POOLS
from schemas.wire import decode
from streams.topic_logs import Follower, Record

log = logging.getLogger(__name__)


class PoolBook:
    """What is specified now, and who reports which capacity."""

    def __init__(self, options: KafkaOptions) -> None:
        self._pools: dict[str, Pool] = {}
        self._capacity: dict[str, dict[bytes, tuple[PoolCapacity, int]]] = {}
        self._epoch = FIRST_EPOCH
        self._specs = Follower(options, POOLS, handler=self.on_pools)
        self._reported = Follower(options, POOL_CAPACITY, handler=self.on_capacity)

    @property
    def pools(self) -> dict[str, Pool]:
        """The pools by name; replaced, never changed in place."""
        return self._pools

    @property
    def epoch(self) -> int:
        """The log epoch of ``usage``."""
        return self._epoch

    def capacity_of(self, pool: str) -> Sequence[tuple[PoolCapacity, int]]:
        """Return what each writer reported of the pool, with the broker's timestamp (ms)."""
        return tuple(self._capacity.get(pool, {}).values())

    async def start(self) -> None:
        """Follow both topics and return once their present ends are reached."""
        await self._specs.start()
        await self._reported.start()
        await asyncio.gather(self._specs.caught_up(), self._reported.caught_up())

    async def stop(self) -> None:
        """Stop following."""
        await asyncio.gather(self._specs.stop(), self._reported.stop())

    async def caught_up(self) -> None:
        """Return once every spec that was applied before this call is known."""
        await self._specs.caught_up()

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """The reading tasks, to be watched: they only end by failing."""
        return tuple(each.task for each in (self._specs, self._reported) if each.task is not None)

    def on_pools(self, record: Record) -> None:
        """Take over one record of ``pools``."""
        key = record.key or b""
        if record.value is None:
            self._pools = {name: p for name, p in self._pools.items() if name.encode() != key}
            return
        try:
            message = decode_pools(record.value)
            if isinstance(message, EpochRecord):
                self._epoch = max(self._epoch, message.epoch) if key == EPOCH_KEY else self._epoch
                return
            pool = compile_pool(message, version=record.offset)
        except (MalformedEventError, SpecError) as error:
            log.error("event=spec_refused key=%r offset=%d error=%s", key, record.offset, error)
            return
        self._pools = {**self._pools, pool.name: pool}
        log.info("event=spec_applied pool=%s version=%d", pool.name, pool.version)

    def on_capacity(self, record: Record) -> None:
        """Take over one record of ``pool-capacity``."""
        key = record.key or b""
        pool = key.partition(b"|")[0].decode(errors="replace")
        writers = self._capacity.setdefault(pool, {})
        if record.value is None:
            writers.pop(key, None)
            return
        try:
            writers[key] = (decode(record.value, PoolCapacity), record.timestamp_ms)
        except MalformedEventError as error:
            log.error("event=capacity_refused key=%r offset=%d error=%s", key, record.offset, error)
