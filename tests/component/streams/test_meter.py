"""The order in which the meter writes, and what it does when a write fails."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from prometheus_client import REGISTRY

from schemas.connections import KafkaOptions
from schemas.ledger import PartitionEntry
from schemas.partitioning import partition_of
from schemas.pools import Pool
from streams.core.judge import Record
from streams.core.ledger import Limits
from streams.core.outcome import Increment, Place, States
from streams.core.restore import StoredKey, restore
from streams.kafka import WriteFailedError
from streams.meter import FOLD_BYTES_MAX, HoleError, Meter
from streams.owned import Owned
from streams.pipeline import Pipeline
from streams.record_batches import BatchTooLargeError, Builder, Built, Outgoing
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
    holds: str = CHANGELOG
    """Writes to this topic wait until the gate is open."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    """Writes to that topic which were begun."""

    def __post_init__(self) -> None:
        self.gate.set()

    async def send_all(self, topic: str, records: Sequence[Outgoing]) -> int:
        """Take the records."""
        await self._pass(topic)
        self.writes += [topic] * len(records)
        return len(self.writes) - 1 if records else -1

    def build(self, records: Sequence[tuple[bytes, bytes | None]]) -> Built:
        """Make one record batch."""
        if len(records) > self.changes_max:
            raise BatchTooLargeError("too many")
        return Built(cast("Builder", records), len(records), sum(len(key) for key, _ in records))

    async def send_built(self, topic: str, partition: int, built: Built) -> int:
        """Take one record batch."""
        await self._pass(topic)
        self.writes.append(topic)
        self.batches.append(built.records)
        self.changelog.update(cast("Sequence[tuple[bytes, bytes | None]]", built.builder))
        return 0

    async def _pass(self, topic: str) -> None:
        if topic == self.holds:
            self.asked += 1
            await self.gate.wait()
        if topic == self.fails_on:
            raise WriteFailedError(topic)


@dataclass
class Book:
    """Specs that can be behind the topic until they catch up."""

    pools: Mapping[str, Pool]
    behind: Mapping[str, Pool] = field(default_factory=dict)
    epoch: int = 0
    asked: int = 0

    async def caught_up(self) -> None:
        """Learn what was applied meanwhile."""
        self.asked += 1
        self.pools = {**self.pools, **self.behind}


@dataclass
class Bench:
    """A meter that owns one partition, and who is told of what it does."""

    meter: Meter
    owned: Owned
    pipeline: Pipeline
    failures: list[BaseException]
    written: list[int]
    """Offsets that may be committed."""

    async def fold(
        self,
        records: Sequence[Record],
        *,
        before: int = -1,
        size_bytes: int = 0,
        fetched_s: float = math.inf,
    ) -> None:
        """Fold a batch and wait until it is written."""
        await self.begin(records, before=before, size_bytes=size_bytes, fetched_s=fetched_s)
        await self.pipeline.drained()

    async def begin(
        self,
        records: Sequence[Record],
        *,
        before: int = -1,
        size_bytes: int = 0,
        fetched_s: float = math.inf,
    ) -> None:
        """Fold a batch."""
        await self.meter.fold(
            HOME,
            records,
            before=before,
            generation=self.owned.place.generation,
            size_bytes=size_bytes,
            fetched_s=fetched_s,
        )


def _bench(
    log: Log, *, book: Book | None = None, generation: int = 5, writes_max: int = 64
) -> Bench:
    failures: list[BaseException] = []
    pipeline = Pipeline(writes_max=writes_max, bytes_max=1_000_000, on_failed=failures.append)
    meter = Meter(
        OPTIONS,
        book=book or Book(SPECS),
        publisher=log,
        pipeline=pipeline,
        limits=Limits(marks_max=1_000),
    )
    owned = Owned(Place(HOME, PARTITIONS, generation=generation), States())
    meter.own({HOME: owned})
    bench = Bench(meter, owned, pipeline, failures, [])
    meter.tell(lambda _partition, through: bench.written.append(through))
    return bench


async def test_verdicts_forwards_and_rollups_are_written_before_the_changelog() -> None:
    log = Log()
    bench = _bench(log)

    await bench.fold(records(usage(1), b"?", usage(2, pool=ELSEWHERE)))

    assert bench.written == [2]
    assert log.writes[-1] == CHANGELOG
    assert {*log.writes[:-1]} == {"rollups", "usage", "verdicts"}
    assert log.writes.count("verdicts") == 3


@pytest.mark.parametrize("topic", ["rollups", "verdicts", "usage", CHANGELOG])
async def test_a_write_that_fails_ends_the_process_and_nothing_is_committed(topic: str) -> None:
    log = Log(fails_on=topic)
    bench = _bench(log)
    await bench.begin(records(usage(1), usage(2, pool=ELSEWHERE)))

    with pytest.raises(WriteFailedError):
        await bench.pipeline.drained()
    with pytest.raises(WriteFailedError):
        await bench.begin([record(usage(3), 2)], before=1)

    assert [type(error) for error in bench.failures] == [WriteFailedError]
    assert log.changelog == {}
    assert bench.written == []


async def test_the_next_batch_is_folded_while_the_one_before_is_written() -> None:
    log = Log()
    log.gate.clear()
    bench = _bench(log)

    await bench.begin(records(usage(1)))
    await bench.begin([record(usage(2), 1)], before=0)

    assert bench.owned.folded_through == 1
    assert (log.changelog, bench.written) == ({}, [])
    log.gate.set()
    await bench.pipeline.drained()
    assert bench.written == [0, 1]


async def test_the_changelog_of_a_fold_waits_for_that_of_the_fold_before() -> None:
    log = Log()
    log.gate.clear()
    bench = _bench(log)
    for offset in range(5):
        await bench.begin([record(usage(offset), offset)], before=offset - 1)
    for _ in range(20):
        await asyncio.sleep(0)

    assert log.asked == 1
    log.gate.set()
    await bench.pipeline.drained()
    assert bench.written == [0, 1, 2, 3, 4]


async def test_after_a_failed_changelog_write_no_later_one_of_the_partition_is_sent() -> None:
    log = Log()
    log.gate.clear()
    bench = _bench(log)
    for offset in range(3):
        await bench.begin([record(usage(offset), offset)], before=offset - 1)
    log.fails_on = CHANGELOG
    log.gate.set()

    with pytest.raises(WriteFailedError):
        await bench.pipeline.drained()

    assert log.changelog == {}


async def test_no_verdict_is_out_before_those_of_the_fold_before_are() -> None:
    log = Log(holds="verdicts")
    log.gate.clear()
    bench = _bench(log)
    await bench.begin([record(b"?", 0)])
    await bench.begin([record(b"?", 1)], before=0)
    for _ in range(50):
        await asyncio.sleep(0)

    assert log.asked == 1
    log.gate.set()
    await bench.pipeline.drained()
    assert bench.written == [0, 1]


async def test_a_full_pipeline_holds_back_the_fold() -> None:
    log = Log()
    log.gate.clear()
    bench = _bench(log, writes_max=1)
    await bench.begin(records(usage(1)))

    second = asyncio.create_task(bench.begin([record(usage(2), 1)], before=0))
    for _ in range(20):
        await asyncio.sleep(0)

    assert bench.owned.folded_through == 0
    log.gate.set()
    await second
    assert bench.owned.folded_through == 1


async def test_what_lands_after_the_partition_was_lost_is_not_committed() -> None:
    log = Log()
    log.gate.clear()
    bench = _bench(log)
    await bench.begin(records(usage(1)))
    bench.meter.release()
    log.gate.set()

    await bench.pipeline.drained()

    assert log.changelog != {}
    assert bench.written == []


async def test_a_former_owner_says_nothing_of_a_partition_any_more() -> None:
    bench = _bench(Log())
    await bench.fold(records(usage(1)))
    gauges = ("tokenpools_dedupe_marks_count", "tokenpools_acceptance_floor_us")
    partition = {"partition": str(HOME)}
    assert None not in [REGISTRY.get_sample_value(name, partition) for name in gauges]

    bench.meter.release()

    assert {REGISTRY.get_sample_value(name, partition) for name in gauges} == {None}


async def test_a_hole_between_two_batches_ends_the_process() -> None:
    bench = _bench(Log())
    await bench.fold(records(usage(1)))

    with pytest.raises(HoleError, match="folded through 0, but the next batch follows 3"):
        await bench.begin([record(usage(2), 4)], before=3)


async def test_a_batch_of_a_former_assignment_changes_nothing() -> None:
    log = Log()
    bench = _bench(log)

    await bench.meter.fold(HOME, records(usage(1)), before=-1, generation=4)

    assert bench.owned.states == States()
    assert log.writes == []


async def test_an_unknown_entitlement_dies_only_after_the_specs_were_read_to_their_end() -> None:
    book = Book(SPECS, behind={POOL: pool(entitlements=9)})
    bench = _bench(Log(), book=book)

    await bench.fold(records(usage(1, entitlement="e8"), usage(2, entitlement="e9")))

    assert bench.owned.states.partition is not None
    counts = bench.owned.states.partition.counts
    assert (counts.accepted, counts.dead) == (1, 1)


async def test_specs_are_read_once_for_all_that_was_fetched_before() -> None:
    book = Book(SPECS)
    bench = _bench(Log(), book=book)
    fetched_s = time.monotonic()
    *early, last = records(*(usage(number, entitlement="e9") for number in range(1, 5)))

    for before, each in enumerate(early, -1):
        await bench.fold([each], before=before, fetched_s=fetched_s)
    once = book.asked
    await bench.fold([last], before=2)

    assert (once, book.asked) == (1, 2)
    assert bench.owned.states.partition is not None
    assert bench.owned.states.partition.counts.dead == 4


async def test_what_does_not_fit_one_record_batch_is_folded_in_halves() -> None:
    log = Log(changes_max=10)
    bench = _bench(log)

    await bench.fold(records(*(usage(number, entitlement=f"e{number % 3}") for number in range(4))))

    assert bench.written[-1] == 3
    assert max(log.batches) <= 10 < sum(log.batches)
    assert total(bench.owned.states).total == 20


async def test_a_batch_of_many_bytes_is_folded_in_parts() -> None:
    log = Log()
    bench = _bench(log)

    await bench.fold(records(*map(usage, range(4))), size_bytes=2 * FOLD_BYTES_MAX)

    assert bench.written == [1, 3]


async def test_a_new_owner_buries_what_the_former_generation_wrote() -> None:
    log = Log()
    await _bench(log, generation=5).fold(records(usage(1)))
    stored = {key: value for key, value in log.changelog.items() if value is not None}
    restored = restore(stored.items())
    second = _bench(log, generation=6)
    second.owned.states, second.owned.generations = restored.states, restored.generations

    await second.fold([record(usage(2), 1)], before=0)

    alive = [key for key, value in log.changelog.items() if value is not None]
    former = [key for key in alive if key.endswith(b"|5")]
    assert {key[:2] for key in former} <= {b"d|"}
    again = restore((key, value) for key, value in log.changelog.items() if value is not None)
    assert total(again.states).total == 10
    assert bytes(StoredKey(b"p|%d" % HOME, 6)) in alive


async def test_the_partition_says_from_where_a_new_owner_reads_the_verdicts() -> None:
    log = Log()
    bench = _bench(log)

    await bench.fold(records(usage(1), b"?"))
    published = len(log.writes) - 1
    await bench.fold([record(usage(2), 2)], before=1)

    assert isinstance(bench.owned.states.partition, PartitionEntry)
    assert bench.owned.states.partition.verdicts_offset == published


async def test_what_an_idle_partition_holds_back_is_published_when_it_stops() -> None:
    log = Log()
    bench = _bench(log)
    await bench.fold(records(usage(1)))
    await bench.fold([record(usage(2), 1)], before=0)
    published = log.writes.count("rollups")
    held_back = bench.owned.states.has_unpublished

    await bench.meter.finish(within_s=5.0)

    assert (held_back, bench.owned.states.has_unpublished) == (True, False)
    assert log.writes.count("rollups") > published
    assert log.writes[-1] == CHANGELOG
    await bench.begin([record(usage(3), 2)], before=1)
    assert bench.owned.folded_through == 1


async def test_a_stop_waits_no_longer_than_it_may_for_what_is_under_way() -> None:
    log = Log()
    log.gate.clear()
    bench = _bench(log)
    await bench.begin(records(usage(1)))

    await bench.meter.finish(within_s=0.01)

    assert bench.written == []


async def test_what_was_written_is_told_to_the_table_and_the_payout() -> None:
    stored: list[bytes] = []
    served: list[Increment] = []
    bench = _bench(Log())
    bench.meter.connect(
        store=lambda _partition, changes, _offset: stored.extend(key for key, _ in changes),
        on_served=served.extend,
    )

    await bench.fold(records(usage(1, output=5)))

    assert {key[:2] for key in stored} == {b"t|", b"s|", b"m|", b"h|", b"d|", b"p|"}
    assert [each.cost_tokens for each in served] == [5]
