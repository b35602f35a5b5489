"""Do the topics exist, with the settings that the meter's exactness rests on?

``provision`` creates what is missing from the topics table and refuses what differs where a
difference loses data: the partition count (it is fixed at creation), the timestamp type and the
cleanup policy.  With ``TOKENPOOLS_PROVISION=false`` it only checks.
"""

from __future__ import annotations

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
    except KafkaError as error:
        raise UnavailableError(
            f"Kafka at {options.bootstrap} did not answer ({error}); "
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
    await _create(admin, [_new_topic(name, table[name], options) for name in missing])
    await _check(admin, {name: table[name] for name in table if name in existing}, options)
    return sorted(missing)


def _new_topic(name: str, topic: Topic, options: KafkaOptions) -> NewTopic:
    return NewTopic(
        name,
        options.partitions,
        options.replication_factor,
        topic_configs=topic_config(topic, min_insync=options.min_insync),
    )


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[NewTopic]) -> None:
    if not topics:
        return
    response = await admin.create_topics(list(topics))
    for name, code, *message in response.topic_errors:
        if code in (0, TopicAlreadyExistsError.errno):
            continue
        raise SettingsError(
            f"topic {name} cannot be created: {for_code(code).__name__} {message[0] or ''} "
            "(TOKENPOOLS_PARTITIONS, TOKENPOOLS_REPLICATION_FACTOR, TOKENPOOLS_MIN_INSYNC)"
        )


async def _check(
    admin: AIOKafkaAdminClient, table: Mapping[str, Topic], options: KafkaOptions
) -> None:
    if not table:
        return
    for described in await admin.describe_topics(list(table)):
        found = len(described["partitions"])
        if found != options.partitions:
            raise SettingsError(
                f"topic {described['topic']} has {found} partitions, but TOKENPOOLS_PARTITIONS is "
                f"{options.partitions}; the count is fixed when the topics are created"
            )
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in table]
    for response in await admin.describe_configs(resources):
        for resource in response.resources:
            _check_settings(resource, table, options)


def _check_settings(resource: Any, table: Mapping[str, Topic], options: KafkaOptions) -> None:
    name, entries = resource[3], resource[4]
    found = {entry[0]: entry[1] for entry in entries}
    wanted = topic_config(table[name], min_insync=options.min_insync)
    for setting in BINDING_SETTINGS:
        if found.get(setting) != wanted[setting]:
            raise SettingsError(
                f"topic {name} has {setting}={found.get(setting)}, but needs {wanted[setting]}; "
                "change it on the broker (kafka-configs) before starting"
            )


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
