"""A dead letter is found with its bytes, put right, replayed, and counted once."""

from __future__ import annotations

import json
import time
from typing import Final

import msgspec
import pytest

from console.publish import publish_pools
from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.specs import EntitlementSpec, PoolRef, Qos, ServiceClass
from schemas.usage import UsageData, UsageEvent
from streams.kafka import client_kwargs
from tests.integration.streams.loop import POOL_NAMES, Gateway, pool_record
from tests.integration.verification.operator import Operator, emit

POOL: Final = POOL_NAMES[0]
LATECOMER: Final = "latecomer"
TOKENS: Final = 12


def event_of_latecomer() -> UsageEvent:
    now_us = time.time_ns() // 1_000
    data = UsageData(
        pool=POOL, entitlement=LATECOMER, input_tokens=TOKENS, start_us=now_us - 1, end_us=now_us
    )
    return UsageEvent(source="test/latecomer", id="1", sequence=None, data=data)


async def admit_latecomer(kafka: KafkaOptions) -> None:
    record = pool_record(POOL)
    newcomer = EntitlementSpec(
        uid=LATECOMER,
        tenant_id="tenant",
        pool_ref=PoolRef(name=POOL),
        qos=Qos(service_class=ServiceClass.SPOT),
    )
    record = msgspec.structs.replace(record, entitlements=(*record.entitlements, newcomer))
    await publish_pools([record], kafka, client=client_kwargs(kafka), now_us=time.time_ns() // 1000)


async def letters(operator: Operator, *filters: str) -> list[dict[str, str]]:
    answer = await operator.run("dead-letters", "list", "--json", *filters)
    assert answer.status == 0, answer.text
    found: list[dict[str, str]] = json.loads(answer.text)
    return found


@pytest.mark.usefixtures("worker", "history")
async def test_a_letter_that_is_put_right_and_replayed_twice_counts_once(
    kafka: KafkaOptions, gateway: Gateway, operator: Operator
) -> None:
    await gateway.emit(20)
    await gateway.send_raw(b"\xff no event")
    await gateway.send_raw(None)
    await emit(kafka, event_of_latecomer())
    await operator.both_agree(gateway)

    async def judged() -> bool:
        return len(await letters(operator)) == 3

    await operator.until(judged, what="three dead letters in ClickHouse")
    (letter,) = await letters(operator, "--pool", POOL, "--reason", "unknown_entitlement")
    (malformed,) = await letters(operator, "--reason", "malformed")
    shown = await operator.run("dead-letters", "show", malformed["position"])
    assert "ff206e6f206576656e74" in shown.text

    await admit_latecomer(kafka)
    replayed = await operator.run("dead-letters", "replay", letter["position"])
    assert (replayed.status, "replayed=1 refused=0" in replayed.text) == (0, True)
    gateway.expected[POOL, LATECOMER] = TOKENS
    await operator.both_agree(gateway)

    again = await operator.run("dead-letters", "replay", letter["position"])
    assert again.status == 0

    async def duplicate() -> bool:
        return (await gateway.counts()).duplicate == 1

    await operator.until(duplicate, what="the second replay is a duplicate")
    await operator.both_agree(gateway)
    everything = await operator.run("dead-letters", "replay", "--all")
    assert "2 letters to replay; add --yes" in everything.text, "the counted one is left out"
    everything = await operator.run("dead-letters", "replay", "--all", "--yes")
    assert (everything.status, "replayed=1 refused=1" in everything.text) == (1, True)
    assert "its original was not stored" in everything.text
    shown = await operator.run("dead-letters", "show", letter["position"])
    assert "(counts)" in shown.text
    assert "(does not count)" in shown.text


async def test_without_clickhouse_the_setting_is_named(kafka: KafkaOptions) -> None:
    nowhere = ClickHouseOptions("127.0.0.1", 1, "tokenpools")
    operator = Operator(kafka, nowhere, "clickhouse://127.0.0.1:1/tokenpools")

    answer = await operator.run("dead-letters", "list")

    assert answer.status == 2
    assert "CLICKHOUSE_DSN" in answer.text


async def test_no_letters_are_said_so(operator: Operator, clickhouse: ClickHouseOptions) -> None:
    answer = await operator.run("dead-letters", "list")

    assert (answer.status, answer.text) == (0, "no dead letters\n")
