"""The feed in: the topics ``pools`` and ``admission-state``, handed to the admitter."""

from __future__ import annotations

import asyncio
from functools import partial

from admission.admitter import Admitter
from admission.kafka import Fetched, Follower
from schemas.connections import KafkaOptions
from schemas.topics import ADMISSION_STATE, POOLS


class Feed:
    """Follows both topics for one admitter."""

    def __init__(self, options: KafkaOptions, admitter: Admitter) -> None:
        say = partial(_say, admitter)
        self._admitter = admitter
        self._pools = Follower(options, POOLS, self._on_pools, say=say)
        self._states = Follower(options, ADMISSION_STATE, self._on_state, say=say)

    async def run(self) -> None:
        """Follow for ever; what a handler raises ends it."""
        await self._pools.start()
        await self._states.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._mark_read())
                group.create_task(self._pools.join())
                group.create_task(self._states.join())
        finally:
            await self._pools.stop()
            await self._states.stop()

    async def pools_read(self) -> None:
        """Return when ``pools`` was read to its end."""
        await self._pools.caught_up()

    async def _mark_read(self) -> None:
        await self._pools.caught_up()
        self._admitter.pools_read = True

    def _on_pools(self, record: Fetched) -> None:
        self._admitter.apply_pools(record.key, record.value, offset=record.offset)

    def _on_state(self, record: Fetched) -> None:
        self._admitter.apply_state(record.value)


def _say(admitter: Admitter, problem: str) -> None:
    admitter.log("broker_away", error=problem)
