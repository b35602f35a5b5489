"""One or two workers and the real broker: exact totals whatever is killed, and published states."""

from __future__ import annotations

import time

import pytest

from schemas.connections import KafkaOptions
from schemas.partitioning import partition_of
from schemas.reports import AdmitterReport
from schemas.state import AdmissionState
from schemas.topics import (
    ADMISSION_STATE,
    ADMITTER_REPORTS,
    CONSUMPTION_TABLE,
    VERDICTS,
    changelog_topic,
)
from schemas.verdicts import (
    JudgedThrough,
    Verdict,
    VerdictCounts,
    VerdictKind,
    decode_verdict,
)
from schemas.wire import decode, encode
from streams.topic_logs import Record
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.loop import (
    Gateway,
    changelog_records,
    end_in_markers,
    messages,
    until,
    write_changelog,
)

OWNED = "event=partition_owned"


async def test_the_changelog_holds_exactly_what_was_emitted(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    start_worker()
    await gateway.emit(500, copies=2)
    await gateway.emit(200, misplaced=True)
    for value in (b"not json", None):
        await gateway.send_raw(value)

    await gateway.ledger_agrees()

    async def all_read() -> bool:
        return (await gateway.counts()).dead == 2

    await until(all_read, what="both dead letters are counted", deadline_s=20.0)
    assert await gateway.counts() == VerdictCounts(
        accepted=700, duplicate=500, forwarded=200, dead=2
    )
    verdicts = [decode_verdict(value) for value in await messages(gateway.options, VERDICTS)]
    dead = [each for each in verdicts if isinstance(each, Verdict) and each.original_key == b"raw"]
    assert {(each.verdict, each.reason) for each in dead} == {
        (VerdictKind.DEAD, "malformed"),
        (VerdictKind.DEAD, "tombstone"),
    }
    read_from = {each.partition for each in verdicts if isinstance(each, JudgedThrough)}
    assert {0, *(partition_of(pool, 4) for pool, _ in gateway.expected)} <= read_from


@pytest.mark.slow
async def test_a_worker_killed_in_mid_stream_leaves_exact_totals(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    for _ in range(2):
        worker = start_worker()
        await worker.wrote(OWNED)
        for _ in range(4):
            await gateway.emit(1_000)
        worker.kill()

    start_worker()

    await gateway.ledger_agrees()


@pytest.mark.slow
async def test_when_one_of_two_workers_is_killed_the_other_takes_over_exactly(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    first = start_worker()
    await first.wrote(OWNED)
    second = start_worker()
    await second.wrote(OWNED)
    for _ in range(3):
        await gateway.emit(1_000)
    second.kill()
    await gateway.emit(1_000)

    await gateway.ledger_agrees()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_zombie_that_wakes_after_losing_its_partitions_changes_nothing(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    zombie = start_worker()
    await zombie.wrote(OWNED)
    await gateway.emit(1_000)
    zombie.pause()
    await gateway.emit(1_000)
    start_worker()
    await gateway.ledger_agrees()
    zombie.resume()
    await gateway.emit(1_000)

    await gateway.ledger_agrees()


def is_totals(record: Record) -> bool:
    """Say whether it holds an entitlement's totals: idle ones are what a late write can spoil."""
    return record.key is not None and record.key.startswith(b"t|")


@pytest.mark.slow
async def test_a_former_owners_write_that_lands_last_is_not_believed(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    former = start_worker()
    await gateway.emit(100)
    await gateway.ledger_agrees()
    former.kill()
    stale = [each for each in await changelog_records(gateway.options) if is_totals(each)]
    owner = start_worker()
    await gateway.emit(100)
    await gateway.ledger_agrees()
    owner.kill()
    await write_changelog(gateway, stale)

    start_worker()
    await gateway.emit(100)

    await gateway.ledger_agrees()


async def test_state_is_published_soon_after_an_admitter_reports(
    gateway: Gateway, options: KafkaOptions, start_worker: StartWorker
) -> None:
    worker = start_worker()
    await worker.wrote(OWNED)
    began_s = time.monotonic()
    sequence = 0

    async def follows() -> bool:
        nonlocal sequence
        sequence += 1
        report = AdmitterReport(pool="alpha", incarnation="a-1", url="http://a", sequence=sequence)
        await gateway.producer.send_and_wait(
            options.topic(ADMITTER_REPORTS),
            encode(report),
            key=b"alpha",
            partition=partition_of("alpha", options.partitions),
        )
        states = [decode(each, AdmissionState) for each in await messages(options, ADMISSION_STATE)]
        return any(
            view.incarnation == "a-1" and view.sequence > 0
            for state in states
            if state.pool == "alpha"
            for view in state.admitters
        )

    await until(follows, what="a state that echoes the report", deadline_s=15.0)

    assert time.monotonic() - began_s < 15.0


async def test_recovery_ends_where_a_changelog_ends_in_a_transaction_marker(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    worker = start_worker()
    await gateway.emit(100)
    await gateway.ledger_agrees()
    worker.kill()
    await end_in_markers(gateway.options, changelog_topic(CONSUMPTION_TABLE))

    heir = start_worker()

    await heir.wrote(OWNED)
    await gateway.emit(100)
    await gateway.ledger_agrees()


async def test_it_stops_cleanly_when_asked(gateway: Gateway, start_worker: StartWorker) -> None:
    worker = start_worker()
    await gateway.emit(100)
    await gateway.ledger_agrees()

    assert worker.stop() == 0
