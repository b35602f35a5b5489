"""Drains: how fast one or more processes folded a stored log, as the broker saw it.

The clock runs between two instants that anyone can read in the changelog: the broker's time of the
first and of the last record that says how far a partition is folded.  The start of the process,
joining the group and what the first fold counted are left out; so is its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError

from schemas.ledger import PartitionEntry, decode_entry
from schemas.topics import CONSUMPTION_TABLE, USAGE, changelog_topic
from streams.core.restore import stored_key
from streams.kafka import client_kwargs
from streams.topic_logs import read_whole
from tests.bench.metering.child import Child
from tests.bench.metering.site import Site
from tests.integration.streams.loop import until

DRAINED_S_MAX: Final = 120.0
CHANGELOG: Final = changelog_topic(CONSUMPTION_TABLE)


class Step(NamedTuple):
    """At an instant (broker, seconds) a partition had counted so many events in all."""

    at_s: float
    partition: int
    events: int
    generation: int


@dataclass(frozen=True)
class Drained:
    """One measured drain."""

    events: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Events per second on the clock."""
        return self.events / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Events per CPU second of the processes."""
        return self.events / self.cpu_s


async def watch(site: Site, children: Sequence[Child], *, group: str) -> None:
    """Return when the group has committed the whole log; sample the children meanwhile."""
    tasks = [asyncio.create_task(child.sample()) for child in children]
    drained = asyncio.create_task(_drained(site, group))
    try:
        done, _ = await asyncio.wait([*tasks, drained], return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in (*tasks, drained):
            each.cancel()
        await asyncio.gather(*tasks, drained, return_exceptions=True)


async def _drained(site: Site, group: str) -> None:
    topic = site.topic(USAGE)
    ends = {TopicPartition(topic, partition): end for partition, end in site.ends.items()}
    admin = AIOKafkaAdminClient(**client_kwargs(site.options))
    await admin.start()

    async def has_committed() -> bool:
        return await _has_committed(admin, group, ends)

    try:
        await until(has_committed, what="the commit of the whole log", deadline_s=DRAINED_S_MAX)
    finally:
        await admin.close()


async def _has_committed(
    admin: AIOKafkaAdminClient, group: str, ends: Mapping[TopicPartition, int]
) -> bool:
    try:
        committed = await admin.list_consumer_group_offsets(group, partitions=list(ends))
    except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError):
        return False  # the broker has not made its topic of offsets yet
    return all(tp in committed and committed[tp].offset >= end for tp, end in ends.items())


async def steps(site: Site, changelog: str = CHANGELOG) -> list[Step]:
    """Return how far each partition was when, in the order of time."""
    topic = site.topic(changelog)
    found = []
    async for record in read_whole(site.options, topic, range(site.options.partitions)):
        if record.key is None or record.value is None or not record.key.startswith(b"p|"):
            continue
        entry = decode_entry(record.value)
        assert isinstance(entry, PartitionEntry)
        assert entry.counts.accepted == entry.counts.read, f"not all accepted: {entry.counts}"
        generation = stored_key(record.key).generation
        at_s = record.timestamp_ms / 1_000
        found.append(Step(at_s, record.partition, entry.counts.read, generation))
    return sorted(found)


def counted_at(taken: Sequence[Step], at_s: float) -> int:
    """Return the events counted up to an instant, it included."""
    latest = {each.partition: each.events for each in taken if each.at_s <= at_s}
    return sum(latest.values())


def measured(site: Site, taken: Sequence[Step], children: Sequence[Child]) -> Drained:
    """Return the drain between the first and the last step; every event must be counted."""
    first_s, last_s = taken[0].at_s, taken[-1].at_s
    counted = counted_at(taken, last_s)
    assert counted == site.traffic.events, f"{counted} of {site.traffic.events} events counted"
    return between(taken, children, first_s, last_s)


def between(
    taken: Sequence[Step], children: Sequence[Child], first_s: float, last_s: float
) -> Drained:
    """Return what was drained between two instants."""
    events = counted_at(taken, last_s) - counted_at(taken, first_s)
    cpu_s = sum(child.cpu_s(first_s, last_s) for child in children)
    return Drained(events, last_s - first_s, cpu_s)


def steady(taken: Sequence[Step], children: Sequence[Child]) -> Drained:
    """Return what was drained while every partition was under way in the last generation.

    Workers that share partitions join one after another: what the first did alone, and what was
    left to one when the other had finished, would say nothing about both.
    """
    generation = max(each.generation for each in taken)
    by_partition: dict[int, list[float]] = {}
    for each in taken:
        if each.generation == generation:
            by_partition.setdefault(each.partition, []).append(each.at_s)
    first_s = max(instants[0] for instants in by_partition.values())
    last_s = min(instants[-1] for instants in by_partition.values())
    assert first_s < last_s, "the log is too short for all workers to be at work at once"
    return between(taken, children, first_s, last_s)
