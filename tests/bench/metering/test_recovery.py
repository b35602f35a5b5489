"""How long does a worker take from its start until it owns every partition of a large ledger?

1,000 pools of 100 entitlements each, every one with totals and open windows in the changelog.  The
ceiling is reading the same changelog with a bare consumer, which neither starts a process nor joins
a group nor decodes.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from statistics import median
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import STREAMS_APP
from streams.kafka import client_kwargs
from streams.topic_logs import log_bounds
from tests.bench.figures import Figure
from tests.bench.metering.child import Child, start_worker
from tests.bench.metering.drain import CHANGELOG, watch
from tests.bench.metering.site import Site, build
from tests.bench.metering.sizes import ROUNDS, SCALE
from tests.bench.metering.traffic import Traffic

POOLS: Final = max(16, 1_000 * SCALE // 100)
ENTITLEMENTS: Final = 100
TRAFFIC: Final = Traffic(events=2 * POOLS * ENTITLEMENTS, pools=POOLS, entitlements=ENTITLEMENTS)
TICK_MS: Final = 60_000
OWNED: Final = re.compile(r"event=partition_owned partition=(\d+)")
OWNED_S_MAX: Final = 120.0
POLL_S: Final = 0.02

pytestmark = pytest.mark.timeout(600)


async def test_recovery(kafka_bootstrap: str, tmp_path: Path, figures: list[Figure]) -> None:
    site = await build(kafka_bootstrap, TRAFFIC, tick_ms=TICK_MS)
    await fill(site, tmp_path)
    recovered, read = [], []
    for number in range(ROUNDS):
        read.append(await read_s(site))
        recovered.append(await recovered_s(site, tmp_path / f"worker-{number}.log"))
    await site.drop()
    name = "a bare read of the changelog"
    figures.append(Figure("recovery.s", median(recovered), "s", median(read), name))


async def fill(site: Site, folder: Path) -> None:
    """Let a worker write the ledger's changelog."""
    child = start_worker(site, folder / "filler.log")
    try:
        await watch(site, [child], group=site.options.group(STREAMS_APP))
    finally:
        child.end()


async def recovered_s(site: Site, log: Path) -> float:
    """Start a worker; return the seconds until it owns everything."""
    began_s = time.monotonic()
    worker = start_worker(site, log)
    try:
        async with asyncio.timeout(OWNED_S_MAX):
            while owned(worker) < site.options.partitions:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(POLL_S)
        return time.monotonic() - began_s
    finally:
        worker.end()


def owned(worker: Child) -> int:
    """Return how many partitions the worker says it owns."""
    return len(set(OWNED.findall(worker.log.read_text())))


async def read_s(site: Site) -> float:
    """Return the seconds that a bare consumer takes from its start to the changelog's end."""
    topic = site.topic(CHANGELOG)
    bounds = await log_bounds(site.options, topic, range(site.options.partitions))
    left = {TopicPartition(topic, p): end for p, (begin, end) in bounds.items() if begin < end}
    began_s = time.monotonic()
    async with AIOKafkaConsumer(
        **client_kwargs(site.options),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=None,
    ) as consumer:
        consumer.assign(list(left))
        while left:
            for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                if records[-1].offset + 1 >= left[tp]:
                    del left[tp]
    return time.monotonic() - began_s
