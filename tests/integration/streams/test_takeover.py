"""What a start does when a topic under it was deleted, truncated or shortened by retention."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.provision import provision
from schemas.topics import CONSUMPTION_TABLE, STREAMS_APP, USAGE, VERDICTS, changelog_topic
from streams.kafka import admin_client, client_kwargs
from streams.topic_logs import log_bounds
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.loop import Gateway, until

CHANGELOG = changelog_topic(CONSUMPTION_TABLE)


async def committed(gateway: Gateway) -> None:
    """Wait until the group has committed the end of ``usage``."""
    options = gateway.options
    topic = options.topic(USAGE)

    async def is_committed() -> bool:
        bounds = await log_bounds(options, topic, range(options.partitions))
        async with admin_client(options) as admin:
            found = await admin.list_consumer_group_offsets(options.group(STREAMS_APP))
        offsets = {each.partition: entry.offset for each, entry in found.items()}
        return all(offsets.get(p, 0) == end for p, (_, end) in bounds.items() if end)

    await until(is_committed, what="the end of usage is committed", deadline_s=30.0)


async def shorten(gateway: Gateway, topic: str) -> None:
    """Delete all records that a topic holds, as retention does in the end."""
    options = gateway.options
    name = options.topic(topic)
    bounds = await log_bounds(options, name, range(options.partitions))
    async with admin_client(options) as admin:
        await admin.delete_records(
            {TopicPartition(name, p): RecordsToDelete(end) for p, (_, end) in bounds.items()}
        )


async def recreate(gateway: Gateway, topic: str) -> None:
    """Delete a topic and create it again, empty."""
    options = gateway.options
    name = options.topic(topic)
    admin = AIOKafkaAdminClient(**client_kwargs(options))
    await admin.start()
    try:
        await admin.delete_topics([name])

        async def is_gone() -> bool:
            return name not in await admin.list_topics()

        await until(is_gone, what=f"{name} is deleted", deadline_s=20.0)
    finally:
        await admin.close()
    await provision(options, client=client_kwargs(options))


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_ledger_that_was_deleted_is_refused_and_rebuilt_only_on_purpose(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    worker = start_worker()
    await gateway.emit(300, copies=2)
    await gateway.send_raw(b"not json")
    await gateway.ledger_agrees()
    await committed(gateway)
    counts = await gateway.counts()
    assert worker.stop() == 0
    await recreate(gateway, CHANGELOG)

    refused = start_worker()

    assert await refused.exit_status() == 1
    assert "has committed offset" in refused.log.read_text()
    assert "TOKENPOOLS_REBUILD_LEDGER=1" in refused.log.read_text()
    rebuilding = start_worker(TOKENPOOLS_REBUILD_LEDGER="1")
    await gateway.ledger_agrees()
    await rebuilding.wrote("event=ledger_rebuilt")
    await committed(gateway)
    assert await gateway.counts() == counts


@pytest.mark.timeout(180)
async def test_a_ledger_that_usage_no_longer_explains_is_not_rebuilt(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    worker = start_worker()
    await gateway.emit(100)
    await gateway.ledger_agrees()
    await committed(gateway)
    assert worker.stop() == 0
    await shorten(gateway, USAGE)
    await recreate(gateway, CHANGELOG)

    refused = start_worker(TOKENPOOLS_REBUILD_LEDGER="1")

    assert await refused.exit_status() == 1
    assert "cannot be made anew" in refused.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_start_after_retention_took_the_position_and_all_verdicts_goes_on(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    worker = start_worker()
    await gateway.emit(100, copies=2)
    await gateway.ledger_agrees()
    await committed(gateway)
    assert worker.stop() == 0
    for topic in (USAGE, VERDICTS):
        await shorten(gateway, topic)

    heir = start_worker()
    await heir.wrote("event=partition_owned")
    await gateway.emit(100, copies=2)

    await gateway.ledger_agrees()
    assert "event=usage_lost" not in heir.log.read_text()


@pytest.mark.timeout(180)
async def test_what_retention_took_before_it_was_read_is_said_and_counted(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    worker = start_worker()
    await gateway.emit(100)
    await gateway.ledger_agrees()
    assert worker.stop() == 0
    expected = dict(gateway.expected)
    await gateway.emit(40)
    await shorten(gateway, USAGE)
    gateway.expected = expected

    heir = start_worker()
    await heir.wrote("event=usage_lost")
    await gateway.emit(100)

    await gateway.ledger_agrees()
    lost = await heir.metric("tokenpools_usage_lost_offsets_total")
    assert sum(lost.values()) == 40
