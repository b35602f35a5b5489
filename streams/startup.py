"""Start-up: are the topics what exactness rests on?  If not, refuse and name what must change."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.connections import KafkaOptions
from schemas.errors import SettingsError
from schemas.topics import CHANGELOGS, TOPICS, USAGE, Timestamps
from streams.kafka import topic_partitions, topic_settings


async def check_topics(options: KafkaOptions) -> None:
    """Raise ``SettingsError`` naming the topic and the setting that does not fit."""
    check_partitions(options, await topic_partitions(options))
    usage = options.topic(USAGE)
    settings = await topic_settings(options, usage)
    kind = settings.get("message.timestamp.type")
    if kind != Timestamps.LOG_APPEND:
        raise SettingsError(
            f"topic {usage} has message.timestamp.type={kind}; it must be LogAppendTime, or "
            "events with old timestamps are deleted before they are counted"
        )


def check_partitions(options: KafkaOptions, existing: Mapping[str, int]) -> None:
    """Raise ``SettingsError`` when a topic is missing or has another number of partitions."""
    wanted = [options.topic(topic.name) for topic in (*TOPICS, *CHANGELOGS)]
    missing = sorted(name for name in wanted if name not in existing)
    if missing:
        raise SettingsError(
            f"topics {', '.join(missing)} do not exist; start `tokenpools up` once, or create "
            "them as `tokenpools topics --print` says"
        )
    for name in wanted:
        if existing[name] != options.partitions:
            raise SettingsError(
                f"topic {name} has {existing[name]} partitions, but TOKENPOOLS_PARTITIONS is "
                f"{options.partitions}; all topics must have the same number"
            )
