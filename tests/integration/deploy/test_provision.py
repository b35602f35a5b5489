"""Provisioning against the real broker: it creates what is missing and refuses what differs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.ports import free_ports
from deploy.local.provision import create_commands, provision, provisioned_topics
from schemas.connections import KafkaOptions
from schemas.errors import SettingsError, UnavailableError
from schemas.topics import ROLLUPS, TOPICS, USAGE, topic_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PARTITIONS = 3
VISIBLE_DEADLINE_S = 20.0
NAMES = sorted(topic.name for topic in provisioned_topics())


@pytest.fixture
def options(kafka_bootstrap: str, topic_prefix: str) -> KafkaOptions:
    return KafkaOptions(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix, partitions=PARTITIONS)


@pytest.fixture
async def admin(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def provisioned(options: KafkaOptions) -> list[str]:
    return await provision(options, client={"bootstrap_servers": options.bootstrap})


async def make(
    admin: AIOKafkaAdminClient,
    name: str,
    *,
    partitions: int = PARTITIONS,
    config: Mapping[str, str],
) -> None:
    """Create a topic as somebody else would."""
    topic = NewTopic(name, partitions, 1, topic_configs=dict(config))
    response = await admin.create_topics([topic])

    assert [code for _, code, *_ in response.topic_errors] == [0]
    async with asyncio.timeout(VISIBLE_DEADLINE_S):
        while name not in await admin.list_topics():
            pass  # each turn asks the broker


async def settings_of(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    ((_, _, _, _, entries),) = response.resources
    return {entry[0]: entry[1] for entry in entries}


def table_config(name: str) -> dict[str, str]:
    (topic,) = (topic for topic in TOPICS if topic.name == name)
    return topic_config(topic, min_insync=1)


async def test_every_topic_is_created_as_the_table_says(
    options: KafkaOptions, admin: AIOKafkaAdminClient
) -> None:
    created = await provisioned(options)

    assert created == [options.topic(name) for name in NAMES]
    for topic in provisioned_topics():
        name = options.topic(topic.name)
        (described,) = await admin.describe_topics([name])
        wanted = topic_config(topic, min_insync=1)
        assert len(described["partitions"]) == PARTITIONS
        assert wanted.items() <= (await settings_of(admin, name)).items()


async def test_every_partition_has_a_leader_when_provisioning_returns(
    options: KafkaOptions, admin: AIOKafkaAdminClient
) -> None:
    for name in await provisioned(options):
        (described,) = await admin.describe_topics([name])

        assert [partition["error_code"] for partition in described["partitions"]] == [0] * 3


async def test_the_second_time_creates_nothing(options: KafkaOptions) -> None:
    await provisioned(options)

    assert await provisioned(options) == []


async def test_two_that_provision_at_once_agree(options: KafkaOptions) -> None:
    created = await asyncio.gather(provisioned(options), provisioned(options))

    assert sorted(created[0] + created[1]) == [options.topic(name) for name in NAMES]


async def test_only_the_missing_topic_is_created(
    options: KafkaOptions, admin: AIOKafkaAdminClient
) -> None:
    await make(admin, options.topic(USAGE), config=table_config(USAGE))

    created = await provisioned(options)

    assert created == [options.topic(name) for name in NAMES if name != USAGE]


async def test_another_partition_count_is_refused_with_both_numbers(
    options: KafkaOptions, admin: AIOKafkaAdminClient
) -> None:
    await make(admin, options.topic(USAGE), partitions=2, config=table_config(USAGE))

    with pytest.raises(SettingsError) as refused:
        await provisioned(options)

    assert str(refused.value) == (
        f"topic {options.topic(USAGE)} has 2 partitions, but TOKENPOOLS_PARTITIONS is 3; "
        "the count is fixed when the topics are created"
    )


@pytest.mark.parametrize(
    ("setting", "found", "needed"),
    [
        pytest.param(
            "message.timestamp.type", "CreateTime", "LogAppendTime", id="old timestamps vanish"
        ),
        pytest.param("cleanup.policy", "compact", "delete", id="compaction loses events"),
    ],
)
async def test_a_setting_that_loses_data_is_refused_with_both_values(
    options: KafkaOptions, admin: AIOKafkaAdminClient, setting: str, found: str, needed: str
) -> None:
    await make(admin, options.topic(USAGE), config={**table_config(USAGE), setting: found})

    with pytest.raises(SettingsError) as refused:
        await provisioned(options)

    assert str(refused.value).startswith(
        f"topic {options.topic(USAGE)} has {setting}={found}, but needs {needed};"
    )


async def test_the_order_of_two_cleanup_policies_says_nothing(
    options: KafkaOptions, admin: AIOKafkaAdminClient
) -> None:
    config = {**table_config(ROLLUPS), "cleanup.policy": "delete,compact"}
    await make(admin, options.topic(ROLLUPS), config=config)

    assert options.topic(ROLLUPS) not in await provisioned(options)


async def test_without_provisioning_the_missing_topics_are_named(
    options: KafkaOptions, admin: AIOKafkaAdminClient
) -> None:
    await make(admin, options.topic(USAGE), config=table_config(USAGE))
    missing = [options.topic(name) for name in NAMES if name != USAGE]

    with pytest.raises(SettingsError) as refused:
        await provisioned(replace(options, provision=False))

    assert str(refused.value) == (
        f"topics {', '.join(missing)} are missing and TOKENPOOLS_PROVISION is false; "
        "`tokenpools topics --print` shows how to create them"
    )
    assert set(await admin.list_topics()) & set(missing) == set()


async def test_without_provisioning_topics_that_are_right_are_accepted(
    options: KafkaOptions,
) -> None:
    await provisioned(options)

    assert await provisioned(replace(options, provision=False)) == []


async def test_more_replicas_than_brokers_is_refused_with_the_setting(
    options: KafkaOptions,
) -> None:
    with pytest.raises(SettingsError, match=r"cannot be created.*TOKENPOOLS_REPLICATION_FACTOR"):
        await provisioned(replace(options, replication_factor=3))


async def test_topics_made_by_the_printed_commands_are_accepted(
    options: KafkaOptions, admin: AIOKafkaAdminClient
) -> None:
    for command in create_commands(options):
        words = command.split()
        given = {flag: words[words.index(flag) + 1] for flag in ("--topic", "--partitions")}
        pairs = [words[i + 1] for i, word in enumerate(words) if word == "--config"]
        config = dict(pair.split("=", 1) for pair in pairs)
        await make(admin, given["--topic"], partitions=int(given["--partitions"]), config=config)

    assert await provisioned(replace(options, provision=False)) == []


async def test_a_broker_that_does_not_answer_is_named_with_the_setting() -> None:
    (port,) = free_ports(1)

    with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{port}.*KAFKA_BOOTSTRAP_SERVERS"):
        await provisioned(KafkaOptions(bootstrap=f"127.0.0.1:{port}"))
