"""A former owner writes last, the key stays idle, the log is compacted: the new owner's word holds.

Compaction keeps the last record of a key.  Keys that named no writer would be left with the
zombie's older state alone.
"""

from __future__ import annotations

import pytest

from schemas.connections import KafkaOptions
from tests.integration.streams.compaction import compact_ledger
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.loop import (
    Gateway,
    Worker,
    changelog_records,
    until,
    write_changelog,
)

EVENTS = 400


async def nothing_drifts(gateway: Gateway) -> None:
    """Check that totals, and what is remembered of ids, are as if nothing had happened."""
    accepted = gateway.sent + EVENTS
    await gateway.emit(EVENTS)
    await gateway.repeat(EVENTS)

    async def all_judged() -> bool:
        counts = await gateway.counts()
        return counts.accepted + counts.duplicate == accepted + EVENTS

    await until(all_judged, what="everything is judged", deadline_s=60.0)
    await gateway.ledger_agrees()
    counts = await gateway.counts()
    assert (counts.accepted, counts.duplicate) == (accepted, EVENTS)
    assert (counts.late, counts.dead) == (0, 0)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_former_owners_records_that_outlive_compaction_are_not_believed(
    gateway: Gateway, options: KafkaOptions, start_worker: StartWorker
) -> None:
    former = start_worker()
    await gateway.emit(EVENTS)
    await gateway.ledger_agrees()
    former.kill()
    stale = [each for each in await changelog_records(options) if each.value is not None]
    owner = start_worker()
    await gateway.emit(EVENTS)
    await gateway.ledger_agrees()
    owner.kill()
    await write_changelog(gateway, stale)

    await compact_ledger(options)

    kept = {(each.partition, each.key): each.value for each in await changelog_records(options)}
    assert all(kept[each.partition, each.key] == each.value for each in stale[-3:])
    start_worker()
    await gateway.ledger_agrees()
    await nothing_drifts(gateway)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_worker_paused_past_its_session_leaves_nothing_that_compaction_could_keep(
    gateway: Gateway, options: KafkaOptions, start_worker: StartWorker
) -> None:
    zombie = start_worker()
    await zombie.wrote("event=partition_owned")
    await gateway.emit(4 * EVENTS)
    zombie.pause()
    owner = start_worker()
    await gateway.ledger_agrees()
    zombie.resume()
    await woken(zombie)
    await gateway.ledger_agrees()
    for each in (zombie, owner):
        each.kill()

    await compact_ledger(options)

    start_worker()
    await gateway.ledger_agrees()
    await nothing_drifts(gateway)


async def woken(zombie: Worker) -> None:
    """Wait until it has joined the group anew, or has ended because it lost its partitions."""
    before = len(zombie.takeovers())

    async def is_back() -> bool:
        return len(zombie.takeovers()) > before or zombie.process.poll() is not None

    await until(is_back, what="the zombie is back", deadline_s=60.0)
