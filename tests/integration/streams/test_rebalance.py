"""Workers come and go under load: nothing is lost or counted twice, and memory is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.loop import Gateway, Worker, until

ROUND_EVENTS = 200
DEADLINE_S = 120.0
"""The emitter takes what the processor has; a worker that starts beside it takes its time."""


async def held_by(workers: Sequence[Worker]) -> list[int]:
    """Return the partitions whose ledger the workers hold, once for each that holds it."""
    held = [await worker.partitions_held() for worker in workers]
    return sorted(partition for each in held for partition in each)


async def shared(workers: Sequence[Worker]) -> None:
    """Wait until every partition is owned by one of these workers and each of them owns one."""

    async def is_shared() -> bool:
        owned = [await each.metric("tokenpools_owned_partitions_count") for each in workers]
        counts = [each.get("", 0) for each in owned]
        return sum(counts) == 4 and all(counts)

    await until(
        is_shared, what=f"{len(workers)} workers share the partitions", deadline_s=DEADLINE_S
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_worker_joins_and_one_leaves_under_load(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    calm = asyncio.Event()

    async def load() -> None:
        while not calm.is_set():
            await gateway.emit(ROUND_EVENTS)

    first, second = start_worker(), start_worker()
    for worker in (first, second):
        await worker.wrote("event=started", deadline_s=DEADLINE_S)
    await shared([first, second])
    loading = asyncio.create_task(load())
    third = start_worker()
    await third.wrote("event=started", deadline_s=DEADLINE_S)
    await shared([first, second, third])
    status = await asyncio.to_thread(first.stop)
    await shared([second, third])
    calm.set()
    await loading

    await gateway.ledger_agrees(deadline_s=DEADLINE_S)
    counts = await gateway.counts()
    assert status == 0
    assert "drain_timed_out" not in first.log.read_text()
    assert (counts.accepted, counts.duplicate, counts.late, counts.dead) == (gateway.sent, 0, 0, 0)
    for worker in (second, third):
        skipped = await worker.metric("tokenpools_usage_replayed_events_total")
        assert sum(skipped.values()) == 0, "what was drained is read by nobody again"
    assert await held_by([second, third]) == [0, 1, 2, 3], "no former owner keeps a ledger"
