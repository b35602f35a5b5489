"""A standby takes a dead owner's partitions over from the copy that it keeps."""

from __future__ import annotations

import pytest

from schemas.topics import CONSUMPTION_TABLE, changelog_topic
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.loop import Gateway, Worker, stored_in, until

CHANGELOG = changelog_topic(CONSUMPTION_TABLE)
BUSY = (0, 2)
"""The partitions of the test's pools."""


async def owns(worker: Worker, partitions: int) -> None:
    """Wait until the worker owns that many partitions."""

    async def does() -> bool:
        owned = await worker.metric("tokenpools_owned_partitions_count")
        return owned.get("") == partitions

    await until(does, what=f"{worker.log.name} owns {partitions} partitions", deadline_s=60.0)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_standby_takes_over_without_reading_the_changelog_again(
    gateway: Gateway, start_worker: StartWorker
) -> None:
    heir = start_worker(TOKENPOOLS_STANDBY_REPLICAS="1")
    await heir.wrote("event=partition_owned")
    owner = start_worker(TOKENPOOLS_STANDBY_REPLICAS="1")
    await owns(owner, 2)
    await owns(heir, 2)
    for _ in range(8):
        await gateway.emit(500)
    await gateway.ledger_agrees()

    async def has_copies() -> bool:
        held = await heir.partitions_held()
        return all(held.get(partition, 0) > 0 for partition in BUSY)

    await until(has_copies, what="the heir holds a copy of all that is busy", deadline_s=30.0)
    before = {each: await stored_in(gateway.options, CHANGELOG, each) for each in range(4)}
    await gateway.emit(500)
    owner.kill()
    await gateway.emit(500)
    await owns(heir, 4)

    await gateway.ledger_agrees()
    took = {each["partition"]: each for each in heir.takeovers()[-4:]}
    for partition in BUSY:
        assert took[partition]["from"] > before[partition] // 2, "it had followed the owner"
        assert took[partition]["read"] < before[partition] // 2, "it read what was new, no more"
