"""How do ``run`` and ``up`` start the loop?  Servers, topics, tables, specs, then processes.

``prepare`` is what must be done once both servers answer: topics provisioned, tables migrated,
pools published with ``replicas.min`` as the capacity of last resort.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from console.discovery import published_names
from console.environment import read_text
from console.publish import publish_capacity, publish_pools, withdraw_pools
from deploy.local.loop import Addresses, Loop, LoopPlan, Prepare
from deploy.local.provision import provision
from deploy.local.state_dir import end_leftovers, owned
from schemas.capacity import PoolCapacity, WriterRank
from schemas.connections import (
    ClickHouseOptions,
    KafkaOptions,
    clickhouse_options,
    kafka_options,
)
from schemas.specs import PoolRecord
from streams.history.migrate import migrate
from streams.history.settings import retention_from_env
from streams.kafka import client_kwargs

T = TypeVar("T")
Say = Callable[[str], None]


def kafka_of(addresses: Addresses, environ: Mapping[str, str]) -> KafkaOptions:
    """Return the Kafka options of a running loop: its address, the environment's security."""
    return kafka_options({**environ, **addresses.environment()}, read_text=read_text)


def clickhouse_of(addresses: Addresses, environ: Mapping[str, str]) -> ClickHouseOptions:
    """Return the ClickHouse options of a running loop."""
    return clickhouse_options({**environ, **addresses.environment()}, read_text=read_text)


@asynccontextmanager
async def running_loop(
    plan: LoopPlan, records: Sequence[PoolRecord], *, say: Say, alone: bool = False
) -> AsyncIterator[Loop]:
    """Hold the state directory, start the loop, and stop it whatever happens.

    ``alone``: pools of earlier scenes, which are not among ``records``, are withdrawn.
    """
    with owned(plan.state_dir):
        end_leftovers(plan.state_dir, notice=say)
        loop = Loop(plan, say=say)
        try:
            await loop.start(_prepare(plan, records, say=say, alone=alone))
            yield loop
        finally:
            say("stopping")
            await asyncio.shield(loop.stop())


def _prepare(plan: LoopPlan, records: Sequence[PoolRecord], *, say: Say, alone: bool) -> Prepare:
    async def prepare(addresses: Addresses) -> None:
        environ = {**os.environ, **plan.environment}
        kafka, clickhouse = kafka_of(addresses, environ), clickhouse_of(addresses, environ)
        client = client_kwargs(kafka)
        created, applied = await asyncio.gather(
            provision(kafka, client=client),
            asyncio.to_thread(migrate, clickhouse, retention=retention_from_env(environ)),
        )
        say(f"topics: {len(created)} created; tables: {len(applied)} migrations applied")
        if alone:
            wanted = {record.pool.name for record in records}
            others = [name for name in await published_names(kafka) if name not in wanted]
            await withdraw_pools(others, kafka, client=client)
        await publish_pools(records, kafka, client=client, now_us=time.time_ns() // 1_000)
        for record in records:
            await publish_capacity(_capacity_of_up(record), kafka, client=client)
        say(f"pools: {', '.join(record.pool.name for record in records)}")

    return prepare


def _capacity_of_up(record: PoolRecord) -> PoolCapacity:
    """Return ``replicas.min``, which counts until anybody else reports the pool's capacity."""
    return PoolCapacity(
        pool=record.pool.name,
        writer="up",
        rank=WriterRank.UP,
        ready=record.pool.replicas.min,
        at_us=time.time_ns() // 1_000,
    )


def run_until_signal(main: Coroutine[Any, Any, T]) -> T | None:
    """Run ``main``; SIGINT, SIGTERM or SIGHUP cancels it once, so that its ``finally`` blocks run.

    Returns None when it was cancelled by a signal.
    """

    async def guarded() -> T | None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        return None

    return asyncio.run(guarded())
