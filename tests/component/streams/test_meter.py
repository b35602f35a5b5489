"""The order in which the meter writes, and what it does when a write fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from schemas.connections import KafkaOptions
from schemas.ledger import PartitionEntry
from schemas.partitioning import partition_of
from schemas.pools import Pool
from streams.core.outcome import Increment, Place, States
from streams.core.restore import StoredKey, restore
from streams.kafka import WriteFailedError
from streams.meter import HoleError, Meter, Owned
from streams.record_batches import BatchTooLargeError, Outgoing
from tests.unit.streams.builders import (
    HOME,
    PARTITIONS,
    POOL,
    SPECS,
    pool,
    record,
    records,
    total,
    usage,
)

OPTIONS = KafkaOptions(bootstrap="nowhere:1", partitions=PARTITIONS)
CHANGELOG = "tokenpools-streams-consumption-changelog"
ELSEWHERE = next(name for name in ("beta", "gamma") if partition_of(name, PARTITIONS) != HOME)


@dataclass
class Log:
    """Stands in for Kafka: remembers writes in order, and can refuse them."""

    writes: list[str] = field(default_factory=list)
    changelog: dict[bytes, bytes | None] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    fails_on: str = ""
    changes_max: int = 1_000_000

    async def send_all(self, topic: str, records: Sequence[Outgoing]) -> int:
        """Take the records."""
        self._refuse(topic)
        self.writes += [topic] * len(records)
        return len(self.writes) - 1 if records else -1

    async def send_atomically(
        self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]]
    ) -> int:
        """Take one record batch."""
        self._refuse(topic)
        if len(records) > self.changes_max:
            raise BatchTooLargeError("too many")
        self.writes.append(topic)
        self.batches.append(len(records))
        self.changelog.update(records)
        return 0

    def _refuse(self, topic: str) -> None:
        if topic == self.fails_on:
            raise WriteFailedError(topic)


@dataclass
class Book:
    """Specs that can be behind the topic until they catch up."""

    pools: Mapping[str, Pool]
    behind: Mapping[str, Pool] = field(default_factory=dict)
    epoch: int = 0

    async def caught_up(self) -> None:
        """Learn what was applied meanwhile."""
        self.pools = {**self.pools, **self.behind}


def _meter(log: Log, *, book: Book | None = None, generation: int = 5) -> tuple[Meter, Owned]:
    meter = Meter(OPTIONS, book=book or Book(SPECS), publisher=log, marks_max=1_000)
    owned = Owned(Place(HOME, PARTITIONS, generation=generation), States())
    meter.own({HOME: owned})
    return meter, owned


async def test_verdicts_forwards_and_rollups_are_written_before_the_changelog() -> None:
    log = Log()
    meter, _ = _meter(log)

    batch = records(usage(1), b"?", usage(2, pool=ELSEWHERE))
    through = await meter.fold(HOME, batch, before=-1, generation=5)

    assert through == 2
    assert log.writes[-1] == CHANGELOG
    assert sorted(log.writes[:-1]) == ["rollups", "usage", "verdicts", "verdicts", "verdicts"]


@pytest.mark.parametrize("topic", ["rollups", "verdicts", "usage", CHANGELOG])
async def test_a_write_that_fails_leaves_memory_and_changelog_as_they_were(topic: str) -> None:
    log = Log(fails_on=topic)
    meter, owned = _meter(log)

    with pytest.raises(WriteFailedError):
        await meter.fold(HOME, records(usage(1), usage(2, pool=ELSEWHERE)), before=-1, generation=5)

    assert owned.states == States()
    assert log.changelog == {}


async def test_a_hole_between_two_batches_ends_the_process() -> None:
    meter, _ = _meter(Log())
    await meter.fold(HOME, records(usage(1)), before=-1, generation=5)

    with pytest.raises(HoleError, match="folded through 0, but the next batch follows 3"):
        await meter.fold(HOME, [record(usage(2), 4)], before=3, generation=5)


async def test_a_batch_of_a_former_assignment_changes_nothing() -> None:
    log = Log()
    meter, _ = _meter(log)

    assert await meter.fold(HOME, records(usage(1)), before=-1, generation=4) is None
    assert log.writes == []


async def test_an_unknown_entitlement_dies_only_after_the_specs_were_read_to_their_end() -> None:
    book = Book(SPECS, behind={POOL: pool(entitlements=9)})
    meter, owned = _meter(Log(), book=book)

    await meter.fold(
        HOME,
        records(usage(1, entitlement="e8"), usage(2, entitlement="e9")),
        before=-1,
        generation=5,
    )

    assert owned.states.partition is not None
    counts = owned.states.partition.counts
    assert (counts.accepted, counts.dead) == (1, 1)


async def test_what_does_not_fit_one_record_batch_is_folded_in_halves() -> None:
    log = Log(changes_max=4)
    meter, owned = _meter(log)
    batch = records(*(usage(number, entitlement=f"e{number % 3}") for number in range(4)))

    through = await meter.fold(HOME, batch, before=-1, generation=5)

    assert through == 3
    assert max(log.batches) <= 4 < sum(log.batches)
    assert total(owned.states).total == 20


async def test_a_new_owner_buries_what_the_former_generation_wrote() -> None:
    log = Log()
    first, _ = _meter(log, generation=5)
    await first.fold(HOME, records(usage(1)), before=-1, generation=5)
    stored = {key: value for key, value in log.changelog.items() if value is not None}
    restored = restore(stored.items())
    second, owned = _meter(log, generation=6)
    owned.states, owned.generations = restored.states, restored.generations

    await second.fold(HOME, [record(usage(2), 1)], before=0, generation=6)

    alive = [key for key, value in log.changelog.items() if value is not None]
    former = [key for key in alive if key.endswith(b"|5")]
    assert [key[:2] for key in former] == [b"d|"]
    again = restore((key, value) for key, value in log.changelog.items() if value is not None)
    assert total(again.states).total == 10
    assert bytes(StoredKey(b"p|%d" % HOME, 6)) in alive


async def test_the_partition_says_from_where_a_new_owner_reads_the_verdicts() -> None:
    log = Log()
    meter, owned = _meter(log)

    await meter.fold(HOME, records(usage(1), b"?"), before=-1, generation=5)

    assert isinstance(owned.states.partition, PartitionEntry)
    assert owned.states.partition.verdicts_offset == log.writes.index(CHANGELOG)


async def test_what_was_written_is_told_to_the_table_and_the_payout() -> None:
    stored: list[bytes] = []
    served: list[Increment] = []
    meter, _ = _meter(Log())
    meter.connect(
        store=lambda _partition, changes, _offset: stored.extend(key for key, _ in changes),
        on_served=served.extend,
    )

    await meter.fold(HOME, records(usage(1, output=5)), before=-1, generation=5)

    assert [key[:2] for key in stored] == [b"t|", b"m|", b"d|", b"p|"]
    assert [each.cost_tokens for each in served] == [5]
