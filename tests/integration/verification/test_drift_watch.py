"""History watches itself: metrics read 0, and a gateway that emits nothing is named."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import closing
from typing import Final

import pytest
from prometheus_client import REGISTRY

from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.partitioning import partition_of
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.topics import ADMITTER_REPORTS
from schemas.units import US_PER_MINUTE
from schemas.wire import encode
from streams.history.client import connect
from streams.history.drift_watch import DriftWatch
from streams.history.published import Published
from streams.history.settings import Settings
from streams.history.settled import GRACE_US
from tests.integration.streams.loop import POOL_NAMES, Gateway, until
from tests.integration.verification.operator import Operator, producing

POOL: Final = POOL_NAMES[0]
EPOCH: Final = 1
PUBLISHED_S_MAX: Final = 30.0


COUNT_TWICE: Final = f"""
INSERT INTO usage_raw SELECT * REPLACE (record_index + 1 AS record_index)
FROM usage_raw WHERE pool = '{POOL}' LIMIT 1
"""


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
async def test_metrics_read_0_on_a_running_system_and_name_what_is_wrong(
    kafka: KafkaOptions,
    gateway: Gateway,
    operator: Operator,
    history: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await gateway.emit(60, copies=2)
    await gateway.send_raw(b"no event")
    await report(kafka, {"test": 1, "lost-gateway/1": 42})
    await operator.both_agree(gateway)
    await age_settlements(history.clickhouse, operator)
    watch = DriftWatch(history)
    partition = partition_of(POOL, kafka.partitions)
    caplog.set_level(logging.WARNING, logger="streams.history.drift_watch")

    drifts = [await watch.look(epoch=EPOCH) for _ in "ab"]

    assert [drift.text() for drift in drifts] == ["", ""]
    assert (metric("tokenpools_drift_tokens"), metric("tokenpools_drift_events")) == (0, 0)
    assert metric("tokenpools_drift_checked_timestamp_seconds")
    assert metric("tokenpools_drift_checked_offset", partition=str(partition))
    assert metric("tokenpools_settled_not_emitted_tokens") == 42
    assert f"source='lost-gateway/1' pool={POOL!r} entitlement='e0' tokens=42" in caplog.text

    caplog.clear()
    with closing(connect(history.clickhouse)) as client:
        client.command(COUNT_TWICE)
        fresh = DriftWatch(history)
        client.command("TRUNCATE TABLE drift_checks")
        for _ in range(3):
            await fresh.look(epoch=EPOCH)
        assert metric("tokenpools_drift_events") == 1
        client.command("DELETE FROM usage_raw WHERE record_index > 0")
        await fresh.look(epoch=EPOCH)

    lines = [each.getMessage() for each in caplog.records if "event=drift" in each.getMessage()]
    assert len(lines) == 2, "said once, and once more when it is gone"
    assert f"partition {partition} offsets" in lines[0]
    assert lines[1] == "event=drift_gone"
    assert metric("tokenpools_drift_events") == 0


async def report(kafka: KafkaOptions, settled: dict[str, int]) -> None:
    """Say as an admitter what its gateways settled."""
    said = AdmitterReport(
        pool=POOL,
        incarnation="admitter-1",
        url="http://127.0.0.1:1",
        sequence=1,
        entitlements=(EntitlementReport(entitlement="e0", settled_by_source=settled),),
    )
    async with producing(kafka) as producer:
        await producer.send_and_wait(
            kafka.topic(ADMITTER_REPORTS),
            encode(said),
            key=POOL.encode(),
            partition=partition_of(POOL, kafka.partitions),
        )


@pytest.mark.usefixtures("worker")
async def test_what_was_published_is_known_to_be_read_partition_by_partition(
    kafka: KafkaOptions, gateway: Gateway, operator: Operator, history: Settings
) -> None:
    await gateway.emit(20)
    await operator.both_agree(gateway)
    begun_us = time.time_ns() // 1_000
    published = Published(history)

    async def all_read() -> bool:
        until_us = await published.until_us(epoch=EPOCH)
        return len(until_us) == kafka.partitions

    await until(all_read, what="everything that was published", deadline_s=PUBLISHED_S_MAX)

    assert min((await published.until_us(epoch=EPOCH)).values()) >= begun_us


async def age_settlements(clickhouse: ClickHouseOptions, operator: Operator) -> None:
    """Wait for the rows of what was reported, and make them older than the grace."""

    def count() -> int:
        with closing(connect(clickhouse)) as client:
            return int(client.query("SELECT count() FROM settled").result_rows[0][0])

    async def two() -> bool:
        return await asyncio.to_thread(count) == 2

    await operator.until(two, what="what the admitter reported in ClickHouse")
    with closing(connect(clickhouse)) as client:
        client.command(
            "INSERT INTO settled SELECT * REPLACE (minute - "
            f"toIntervalMicrosecond({GRACE_US + 2 * US_PER_MINUTE}) AS minute) FROM settled"
        )
