"""What a team that creates its own topics is told."""

from __future__ import annotations

from deploy.local.provision import create_commands, provisioned_topics
from schemas.connections import KafkaOptions
from schemas.topics import CHANGELOGS, TOPICS, USAGE

OPTIONS = KafkaOptions(
    bootstrap="kafka:9092",
    topic_prefix="team-",
    partitions=12,
    replication_factor=3,
    min_insync=2,
)


def test_the_tables_changelogs_are_provisioned_too() -> None:
    assert provisioned_topics() == TOPICS + CHANGELOGS


def test_there_is_one_command_for_every_topic_of_the_table() -> None:
    named = [command.split("--topic ")[1].split()[0] for command in create_commands(OPTIONS)]

    assert named == [f"team-{topic.name}" for topic in provisioned_topics()]


def test_a_command_says_everything_that_provisioning_would_have_done() -> None:
    (command,) = (c for c in create_commands(OPTIONS) if f"--topic team-{USAGE} " in c)

    assert command == (
        "kafka-topics.sh --bootstrap-server kafka:9092 --create --if-not-exists"
        " --topic team-usage --partitions 12 --replication-factor 3"
        " --config cleanup.policy=delete"
        " --config max.message.bytes=1048576"
        " --config message.timestamp.type=LogAppendTime"
        " --config min.insync.replicas=2"
        " --config retention.ms=604800000"
    )


def test_no_command_shows_a_password() -> None:
    secured = KafkaOptions(
        bootstrap="kafka:9092",
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="alice",
        sasl_password="hunter2",
    )

    assert [command for command in create_commands(secured) if "hunter2" in command] == []
