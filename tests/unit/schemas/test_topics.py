"""Is the topics table complete and free of contradictions?"""

from __future__ import annotations

from schemas.topics import CHANGELOGS, TOPICS, Cleanup, Timestamps, topic_config


def test_names_are_unique() -> None:
    names = [topic.name for topic in TOPICS + CHANGELOGS]

    assert len(names) == len(set(names))


def test_what_is_kept_for_ever_is_compacted() -> None:
    for topic in TOPICS + CHANGELOGS:
        assert (topic.retention_ms is None) == (topic.cleanup is Cleanup.COMPACT), topic.name


def test_usage_carries_the_brokers_time_because_retention_goes_by_it() -> None:
    (usage,) = [topic for topic in TOPICS if topic.name == "usage"]

    assert usage.timestamps is Timestamps.LOG_APPEND
    assert topic_config(usage, min_insync=2) == {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": "2",
        "max.message.bytes": "1048576",
        "retention.ms": "604800000",
    }
