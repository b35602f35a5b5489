"""Do the topics exist, with the settings that the meter's exactness rests on?

``provision`` creates what is missing from the topics table and refuses what differs where a
difference loses data: the partition count (it is fixed at creation), the timestamp type and the
cleanup policy.  With ``TOKENPOOLS_PROVISION=false`` it only checks.  When it returns, every
partition has a leader: a worker that joins before its topics can be read would wait for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from schemas.connections import KafkaOptions
from schemas.errors import SettingsError, UnavailableError
from schemas.topics import CHANGELOGS, TOPICS, Topic, topic_config

BINDING_SETTINGS: Final = ("cleanup.policy", "message.timestamp.type")
"""Settings of an existing topic that must be as the table says."""

REQUEST_TIMEOUT_MS: Final = 20_000
LEADERS_S_MAX: Final = 20.0
"""How long new topics may take until each of their partitions has a leader."""
LEADERS_POLL_S: Final = 0.1


def provisioned_topics() -> tuple[Topic, ...]:
    """Return every topic of the table, the tables' changelogs included."""
    return TOPICS + CHANGELOGS


async def provision(options: KafkaOptions, *, client: Mapping[str, Any]) -> list[str]:
    """Create the missing topics and check the others; return the names created.

    ``client``: aiokafka's connection arguments.  Raises ``SettingsError`` when a topic differs or
    is missing and may not be created, ``UnavailableError`` when the broker does not answer.
    """
    admin = AIOKafkaAdminClient(**client, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return await _provision(admin, options)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError(
            f"Kafka at {options.bootstrap} did not answer ({error!r}); "
            "check KAFKA_BOOTSTRAP_SERVERS and the KAFKA_* security settings"
        ) from error
    finally:
        await admin.close()


async def _provision(admin: AIOKafkaAdminClient, options: KafkaOptions) -> list[str]:
    existing = set(await admin.list_topics())
    table = {options.topic(topic.name): topic for topic in provisioned_topics()}
    missing = [name for name in table if name not in existing]
    if missing and not options.provision:
        raise SettingsError(
            f"topics {', '.join(sorted(missing))} are missing and TOKENPOOLS_PROVISION is false; "
            "`tokenpools topics --print` shows how to create them"
        )
    created = await _create(admin, [_new_topic(name, table[name], options) for name in missing])
    # Those that were missing as well: another process may have made them, in another way.
    await _check(admin, table, options)
    return sorted(created)


def _new_topic(name: str, topic: Topic, options: KafkaOptions) -> NewTopic:
    return NewTopic(
        name,
        options.partitions,
        options.replication_factor,
        topic_configs=topic_config(topic, min_insync=options.min_insync),
    )


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[NewTopic]) -> list[str]:
    """Create the topics; return the names of those that nobody else had created meanwhile."""
    if not topics:
        return []
    response = await admin.create_topics(list(topics))
    for name, code, *message in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise SettingsError(
                f"topic {name} cannot be created: {for_code(code).__name__} {message[0] or ''} "
                "(TOKENPOOLS_PARTITIONS, TOKENPOOLS_REPLICATION_FACTOR, TOKENPOOLS_MIN_INSYNC)"
            )
    return [name for name, code, *_ in response.topic_errors if code == 0]


async def _check(
    admin: AIOKafkaAdminClient, table: Mapping[str, Topic], options: KafkaOptions
) -> None:
    for name, found in (await _partitions(admin, list(table), options)).items():
        if found != options.partitions:
            raise SettingsError(
                f"topic {name} has {found} partitions, but TOKENPOOLS_PARTITIONS is "
                f"{options.partitions}; the count is fixed when the topics are created"
            )
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in table]
    for response in await admin.describe_configs(resources):
        for resource in response.resources:
            _check_settings(resource, table, options)


async def _partitions(
    admin: AIOKafkaAdminClient, names: Sequence[str], options: KafkaOptions
) -> dict[str, int]:
    """Return each topic's number of partitions, once all of them have a leader."""
    deadline_s = time.monotonic() + LEADERS_S_MAX
    while True:
        described = await admin.describe_topics(list(names))
        without = sorted(topic["topic"] for topic in described if not _has_leaders(topic))
        if not without:
            return {topic["topic"]: len(topic["partitions"]) for topic in described}
        if time.monotonic() > deadline_s:
            raise UnavailableError(
                f"Kafka at {options.bootstrap} has no leader for topics {', '.join(without)} "
                f"after {LEADERS_S_MAX:g} s; check the brokers"
            )
        await asyncio.sleep(LEADERS_POLL_S)


def _has_leaders(topic: Mapping[str, Any]) -> bool:
    """Whether a described topic exists and each of its partitions can be read and written."""
    errors = [topic["error_code"], *(partition["error_code"] for partition in topic["partitions"])]
    return bool(topic["partitions"]) and not any(errors)


def _check_settings(resource: Any, table: Mapping[str, Topic], options: KafkaOptions) -> None:
    name, entries = resource[3], resource[4]
    found = {entry[0]: entry[1] for entry in entries}
    wanted = topic_config(table[name], min_insync=options.min_insync)
    for setting in BINDING_SETTINGS:
        if _values(found.get(setting, "")) != _values(wanted[setting]):
            raise SettingsError(
                f"topic {name} has {setting}={found.get(setting)}, but needs {wanted[setting]}; "
                "change it on the broker (kafka-configs) before starting"
            )


def _values(setting: str) -> set[str]:
    """Return the values of a list, whose order says nothing (``compact,delete``)."""
    return set(setting.split(","))


def create_commands(options: KafkaOptions) -> list[str]:
    """Return one ``kafka-topics.sh`` command per topic, for teams that create their own."""
    commands = []
    for topic in provisioned_topics():
        config = topic_config(topic, min_insync=options.min_insync)
        settings = " ".join(f"--config {name}={value}" for name, value in sorted(config.items()))
        commands.append(
            f"kafka-topics.sh --bootstrap-server {options.bootstrap} --create --if-not-exists "
            f"--topic {options.topic(topic.name)} --partitions {options.partitions} "
            f"--replication-factor {options.replication_factor} {settings}"
        )
    return commands
