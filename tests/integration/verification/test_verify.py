"""``verify`` is exact on a running system, sees one event too many, says what it cannot read."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from typing import Any, Final

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from console.letters.naming import instant_text
from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.partitioning import partition_of
from schemas.topics import USAGE
from schemas.units import US_PER_MINUTE, US_PER_S
from schemas.usage import UsageData, UsageEvent
from streams.history.client import connect
from streams.history.settled import settled_before
from streams.history.settled_rows import SettledRow
from streams.kafka import client_kwargs
from tests.integration.streams.loop import POOL_NAMES, Gateway
from tests.integration.verification.operator import Answer, Operator, emit

POOL: Final = POOL_NAMES[0]
SOURCE: Final = "test"
"""Of the events that ``Gateway`` emits."""
EVERYTHING: Final = 60 + 2 * 20 + 2 * 20 + 2 + 1
"""Events that ``emit_everything`` leaves in the log: a misplaced one is there twice."""
LATE_TOKENS: Final = 9
ROUNDS: Final = 60
"""Of 80 events each, sent while the counts are compared."""


def now_us() -> int:
    return time.time_ns() // 1_000


def last_line(answer: Answer) -> str:
    return answer.text.splitlines()[-1]


def this_hour() -> tuple[str, str]:
    """The window of the last 30 and the next 30 minutes."""
    minute_us = now_us() // US_PER_MINUTE * US_PER_MINUTE
    half_hour_us = 1_800 * US_PER_S
    return instant_text(minute_us - half_hour_us), instant_text(minute_us + half_hour_us)


async def emit_everything(gateway: Gateway) -> None:
    """Accepted, duplicate, dead and forwarded events."""
    await gateway.emit(60)
    await gateway.emit(20, copies=2)
    await gateway.emit(20, misplaced=True)
    await gateway.send_raw(b"no event")
    await gateway.send_raw(None)
    await emit(gateway.options, late_event())
    gateway.expected[POOL, "e0"] += LATE_TOKENS


def late_event() -> UsageEvent:
    """An event whose minute the ledger no longer keeps: history counts that minute again."""
    end_us = now_us() - 1_200 * US_PER_S
    data = UsageData(
        pool=POOL, entitlement="e0", cache_read_tokens=LATE_TOKENS, start_us=end_us, end_us=end_us
    )
    return UsageEvent(source="test/late", id="1", sequence=None, data=data)


@pytest.mark.usefixtures("worker", "history")
async def test_counts_agree_until_one_row_too_many_which_is_named(
    gateway: Gateway, operator: Operator, clickhouse: ClickHouseOptions
) -> None:
    await emit_everything(gateway)
    await operator.both_agree(gateway)
    tokens = sum(gateway.expected.values())
    agreement = f"verify: kafka={tokens} ledger={tokens} clickhouse={tokens} drift=0"
    since, until = this_hour()
    lose_a_gateway(clickhouse, emitted=gateway.expected[POOL, "e0"] - LATE_TOKENS)

    totals = await operator.run("verify")
    window = await operator.run("verify", "--from", since, "--to", until)

    assert (totals.status, last_line(totals)) == (0, agreement)
    assert (window.status, last_line(window)) == (0, agreement)
    assert "settled_not_emitted=42" in totals.text, "it is not drift between the three"
    add_a_row(clickhouse)
    status, report = await as_json(operator, "verify")
    window = await operator.run("verify", "--pool", POOL, "--from", since, "--to", until)
    other = await operator.run("verify", "--pool", POOL_NAMES[1])

    assert (status, window.status, other.status) == (1, 1, 0)
    (missing,) = report["settled_not_emitted"]
    assert (missing["source"], missing["pool"], missing["tokens"]) == ("lost-gateway/1", POOL, 42)
    assert sum(each["read"] for each in report["partitions"]) == EVERYTHING
    assert all(each["kafka"] == each["ledger"] for each in report["partitions"])
    drifting = [row for row in report["counts"] if row["drift"]]
    assert {row["pool"] for row in drifting} == {POOL}
    assert all(row["clickhouse"] > row["kafka"] == row["ledger"] for row in drifting)
    assert {row["class"] for row in drifting} >= {"input_tokens", "events"}


def lose_a_gateway(clickhouse: ClickHouseOptions, *, emitted: int) -> None:
    """Let admitters have said that one gateway settled 42 tokens, of which it emitted nothing."""
    minute = settled_before(now_us()) - US_PER_MINUTE
    rows = [
        SettledRow(POOL, "e0", SOURCE, "admitter-1", minute - US_PER_MINUTE, 1, 3),
        SettledRow(POOL, "e0", SOURCE, "admitter-1", minute, emitted, 9),
        SettledRow(POOL, "e0", "lost-gateway/1", "admitter-1", minute, 30, 9),
        SettledRow(POOL, "e0", "lost-gateway/1", "admitter-2", minute, 12, 2),
        SettledRow(POOL, "e0", "new-gateway/1", "admitter-1", minute + 60 * US_PER_MINUTE, 5, 10),
    ]
    with closing(connect(clickhouse)) as client:
        client.insert("settled", rows, column_names=SettledRow._fields)


def add_a_row(clickhouse: ClickHouseOptions) -> None:
    """Count one event twice, as no part of history ever does."""
    sql = f"""
INSERT INTO usage_raw SELECT * REPLACE (record_index + 1 AS record_index)
FROM usage_raw WHERE pool = '{POOL}' AND input_tokens > 0 AND output_tokens > 0 LIMIT 1
"""
    with closing(connect(clickhouse)) as client:
        client.command(sql)


@pytest.mark.slow
@pytest.mark.usefixtures("worker", "history")
async def test_it_is_exact_while_events_go_on_and_says_from_where_a_log_begins(
    kafka: KafkaOptions, gateway: Gateway, operator: Operator
) -> None:
    await emit_everything(gateway)
    await operator.both_agree(gateway)

    async def go_on() -> None:
        for _ in range(ROUNDS):
            await gateway.emit(40, copies=2)

    since, until = this_hour()
    async with asyncio.TaskGroup() as group:
        group.create_task(go_on())
        answers = [
            await operator.run("verify"),
            await operator.run("verify", "--from", since, "--to", until),
            await operator.run("verify", "--pool", POOL, "--from", since, "--to", until),
        ]
    partition = await cut_log(kafka)
    cut = await operator.run("verify")

    assert [answer.status for answer in (*answers, cut)] == [0, 0, 0, 0]
    assert all(last_line(answer).endswith("drift=0") for answer in (*answers, cut))
    assert f"`usage` partition {partition} can be recomputed from offset" in cut.text
    fields = last_line(cut).split()
    assert fields[1].removeprefix("kafka=") != fields[2].removeprefix("ledger=")


async def cut_log(kafka: KafkaOptions) -> int:
    """Let the partition of the pool lose its first records, as retention does; return it."""
    at = TopicPartition(kafka.topic(USAGE), partition_of(POOL, kafka.partitions))
    admin = AIOKafkaAdminClient(**client_kwargs(kafka))
    await admin.start()
    try:
        await admin.delete_records({at: RecordsToDelete(before_offset=2)})
    finally:
        await admin.close()
    return int(at.partition)


async def test_a_reader_that_does_not_answer_is_named(
    kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> None:
    no_history = Operator(kafka, clickhouse, "clickhouse://127.0.0.1:1/tokenpools")
    no_broker = Operator(KafkaOptions("127.0.0.1:1"), clickhouse, clickhouse.dsn)

    answers = [await each.run("verify") for each in (no_history, no_broker)]

    assert [answer.status for answer in answers] == [2, 2]
    assert "CLICKHOUSE_DSN" in answers[0].text
    assert "KAFKA_BOOTSTRAP_SERVERS" in answers[1].text


async def as_json(operator: Operator, *arguments: str) -> tuple[int, dict[str, Any]]:
    answer = await operator.run(*arguments, "--json")
    text = answer.text[answer.text.index("{") :]
    fields: dict[str, Any] = json.loads(text[: text.rindex("}") + 1])
    return answer.status, fields
