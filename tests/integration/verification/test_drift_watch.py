"""History watches itself: metrics read 0, and a gateway that emits nothing is named."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from dataclasses import replace
from typing import Final

import pytest
from prometheus_client import REGISTRY

from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.partitioning import partition_of
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.topics import ADMITTER_REPORTS
from schemas.wire import encode
from streams.history.client import connect
from streams.history.drift_watch import DriftWatch
from streams.history.settings import Settings
from streams.history.settled import GRACE_US
from streams.history.settled_rows import MINUTE_US
from tests.integration.streams.loop import POOL_NAMES, Gateway
from tests.integration.verification.operator import Operator, producing

POOL: Final = POOL_NAMES[0]
EPOCH: Final = 1


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)


@pytest.mark.usefixtures("worker")
async def test_a_running_system_reads_0_and_says_when_it_was_looked_at(
    gateway: Gateway, operator: Operator, history: Settings
) -> None:
    await gateway.emit(60, copies=2)
    await gateway.send_raw(b"no event")
    await operator.both_agree(gateway)
    watch = DriftWatch(history)

    drifts = [await watch.look(epoch=EPOCH) for _ in "ab"]

    assert [drift.text() for drift in drifts] == ["", ""]
    assert (metric("tokenpools_drift_tokens"), metric("tokenpools_drift_events")) == (0, 0)
    assert metric("tokenpools_drift_checked_timestamp_seconds")
    checked = REGISTRY.get_sample_value(
        "tokenpools_drift_checked_offset",
        {"partition": str(partition_of(POOL, history.kafka.partitions))},
    )
    assert checked is not None
    assert checked > 0


@pytest.mark.usefixtures("worker")
async def test_drift_is_logged_once_with_where_and_once_when_it_is_gone(
    gateway: Gateway, operator: Operator, history: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await gateway.emit(40)
    await operator.both_agree(gateway)
    with closing(connect(history.clickhouse)) as client:
        client.command(f"""
INSERT INTO usage_raw SELECT * REPLACE (record_index + 1 AS record_index)
FROM usage_raw WHERE pool = '{POOL}' LIMIT 1
""")
        watch = DriftWatch(history)
        with caplog.at_level(logging.WARNING, logger="streams.history.drift_watch"):
            for _ in range(3):
                await watch.look(epoch=EPOCH)
            assert metric("tokenpools_drift_events") == 1
            client.command("DELETE FROM usage_raw WHERE record_index > 0")
            await watch.look(epoch=EPOCH)

    lines = [record.getMessage() for record in caplog.records if "event=drift" in record.message]
    assert len(lines) == 2
    assert f"partition {partition_of(POOL, history.kafka.partitions)} offsets" in lines[0]
    assert lines[1] == "event=drift_gone"
    assert metric("tokenpools_drift_events") == 0


@pytest.mark.usefixtures("worker")
async def test_a_gateway_that_settles_and_emits_nothing_is_named(
    kafka: KafkaOptions,
    clickhouse: ClickHouseOptions,
    gateway: Gateway,
    operator: Operator,
    history: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await gateway.emit(40)
    await operator.both_agree(gateway)
    await report(kafka, {"test": 1, "lost-gateway/1": 42})
    await settled_rows_reach(clickhouse, operator)
    with closing(connect(clickhouse)) as client:  # nobody waits for the grace
        client.command(
            f"INSERT INTO settled SELECT * REPLACE "
            f"(minute - toIntervalMicrosecond({GRACE_US + 2 * MINUTE_US}) AS minute) FROM settled"
        )
    watch = DriftWatch(replace(history, drift_check_s=0))

    with caplog.at_level(logging.ERROR, logger="streams.history.drift_watch"):
        for _ in range(2):
            await watch.look(epoch=EPOCH)

    assert metric("tokenpools_settled_not_emitted_tokens") == 42
    assert f"source='lost-gateway/1' pool={POOL!r} entitlement='e0' tokens=42" in caplog.text


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


async def settled_rows_reach(clickhouse: ClickHouseOptions, operator: Operator) -> None:
    def count() -> int:
        with closing(connect(clickhouse)) as client:
            return int(client.query("SELECT count() FROM settled").result_rows[0][0])

    async def two() -> bool:
        return await asyncio.to_thread(count) == 2

    await operator.until(two, what="what the admitter reported in ClickHouse")
