"""Records of the largest pool reach a broker and come back; what no topic takes is explained."""

from __future__ import annotations

import random

import pytest

from deploy.local.provision import provision
from schemas.connections import KafkaOptions
from schemas.topics import (
    ADMISSION_STATE,
    DEBT_TABLE,
    LARGE_PLAIN_BYTES_MAX,
    LARGE_RECORD_BYTES_MAX,
    TICKS,
    changelog_topic,
)
from streams.kafka import Publisher, WriteFailedError, client_kwargs
from streams.topic_logs import read_whole

MIB = 1_048_576


@pytest.fixture
async def options(kafka_bootstrap: str, topic_prefix: str) -> KafkaOptions:
    """Return the options of one test's own topics."""
    options = KafkaOptions(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix, partitions=1)
    await provision(options, client=client_kwargs(options))
    return options


def noise(size: int) -> bytes:
    """Return bytes that no compression makes smaller."""
    return random.Random(size).randbytes(size)


async def read_back(options: KafkaOptions, topic: str) -> list[bytes | None]:
    """Return the values of a topic with one partition."""
    return [record.value async for record in read_whole(options, topic, [0])]


async def test_a_tick_and_its_record_may_have_8_mib_compressed_and_more_plain(
    options: KafkaOptions,
) -> None:
    plain = noise(LARGE_RECORD_BYTES_MAX // 2 - MIB) + b"." * (32 * MIB)
    ticks = options.topic(TICKS)
    debt = options.topic(changelog_topic(DEBT_TABLE))
    bulk = Publisher(
        options,
        client_id="bulk",
        batch_bytes_max=LARGE_PLAIN_BYTES_MAX,
        wire_bytes_max=LARGE_RECORD_BYTES_MAX,
    )
    await bulk.start()
    try:
        await bulk.send_all(ticks, [(0, b"chat", plain, ())])
        await bulk.send_atomically(debt, 0, [(b"chat|2", plain), (b"chat|1", None)])
    finally:
        await bulk.stop()

    assert await read_back(options, ticks) == [plain]
    assert await read_back(options, debt) == [plain, None]


async def test_a_record_that_its_topic_does_not_take_names_the_topic_and_the_setting(
    options: KafkaOptions,
) -> None:
    state = options.topic(ADMISSION_STATE)
    bulk = Publisher(
        options,
        client_id="bulk",
        batch_bytes_max=LARGE_PLAIN_BYTES_MAX,
        wire_bytes_max=LARGE_RECORD_BYTES_MAX,
    )
    await bulk.start()
    try:
        with pytest.raises(WriteFailedError, match=rf"{state} does not take.*max\.message\.bytes"):
            await bulk.send_all(state, [(0, b"chat|0", noise(2 * MIB), ())])
    finally:
        await bulk.stop()
