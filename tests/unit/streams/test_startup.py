"""What keeps a worker from starting, and what the message tells the operator to change."""

from __future__ import annotations

import logging

import pytest

from schemas.connections import KafkaOptions
from schemas.errors import SettingsError
from schemas.topics import CHANGELOGS, TOPICS
from streams.logs import REPEAT_S, Throttle
from streams.settings import Settings, from_env
from streams.startup import check_partitions

OPTIONS = KafkaOptions(bootstrap="broker:9092", topic_prefix="p-", partitions=8)
EXISTING = {f"p-{topic.name}": 8 for topic in (*TOPICS, *CHANGELOGS)}


def _settings(**environ: str) -> Settings:
    return from_env(
        {"KAFKA_BOOTSTRAP_SERVERS": "broker:9092", **environ}, read_text=lambda path: path
    )


def test_a_complete_set_of_topics_is_accepted() -> None:
    check_partitions(OPTIONS, EXISTING)


def test_another_number_of_partitions_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"p-rollups has 3 partitions.*TOKENPOOLS_PARTITIONS"):
        check_partitions(OPTIONS, {**EXISTING, "p-rollups": 3})


def test_a_missing_topic_is_named() -> None:
    existing = {name: count for name, count in EXISTING.items() if name != "p-usage"}

    with pytest.raises(SettingsError, match="p-usage do not exist"):
        check_partitions(OPTIONS, existing)


def test_a_heartbeat_that_is_too_slow_for_the_session_names_both_settings() -> None:
    with pytest.raises(SettingsError, match=r"HEARTBEAT_MS=4000.*SESSION_TIMEOUT_MS=6000"):
        _settings(TOKENPOOLS_HEARTBEAT_MS="4000", TOKENPOOLS_SESSION_TIMEOUT_MS="6000")


def test_settings_that_are_not_named_have_the_defaults_of_the_fields() -> None:
    settings = _settings()

    assert settings == Settings(kafka=settings.kafka)


def _complaint(name: str, at_s: float) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": name, "msg": "Unable to connect", "args": ()})
    record.created = at_s
    return record


def test_a_librarys_complaint_is_printed_once_in_a_while_and_our_lines_always() -> None:
    throttle = Throttle()

    library = [throttle.filter(_complaint("aiokafka", at_s)) for at_s in (0.0, 1.0, REPEAT_S)]
    ours = [throttle.filter(_complaint("tokenpools.streams", at_s)) for at_s in (0.0, 1.0)]

    assert library == [True, False, True]
    assert ours == [True, True]
