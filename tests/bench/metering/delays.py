"""Delays: from handing an event to Kafka to its ledger record, and to a state that knows it.

All instants on the far side are the broker's own (``LogAppendTime``), read after the run, so
nothing follows the topics while it is measured.  A state knows an event when the tick that made it
read a ledger position at or after the event's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from schemas.ledger import PartitionEntry, decode_entry
from schemas.positions import Version
from schemas.state import AdmissionState
from schemas.ticks import Tick
from schemas.topics import ADMISSION_STATE, TICKS
from schemas.wire import decode
from streams.topic_logs import Record, read_whole
from tests.bench.metering.drain import CHANGELOG
from tests.bench.metering.pace import Sent
from tests.bench.metering.site import Site


class Delays(NamedTuple):
    """Seconds per event, sorted."""

    ledger_s: list[float]
    tick_s: list[float]
    """Until a tick that knew it: the state that is out is what that tick wants, published or not,
    since a tick publishes only what admitters would act on."""
    state_s: list[float]
    """Until a state that such a tick published."""
    acknowledged_s: list[float]


class Reached(NamedTuple):
    """From an instant on, everything of a partition up to an offset was known."""

    offset: int
    at_s: float


async def delays(site: Site, sent: Sequence[Sent]) -> Delays:
    """Return what each event waited; all must have arrived."""
    ledger = await _ledger(site)
    ticks, states = await ticks_of(site), await states_of(site)
    to_ledger: list[float] = []
    to_tick: list[float] = []
    to_state: list[float] = []
    for batch in sent:
        for index, pool in enumerate(batch.pools):
            offset = batch.offset + index
            to_ledger.append(_reached_s(ledger[batch.partition], offset) - batch.at_s)
            to_tick.append(_reached_s(ticks[pool], offset) - batch.at_s)
            to_state.append(_reached_s(states[pool], offset) - batch.at_s)
    acks = [each.acknowledged_s - each.at_s for each in sent for _ in each.pools]
    return Delays(sorted(to_ledger), sorted(to_tick), sorted(to_state), sorted(acks))


async def all_known(site: Site, sent: Sequence[Sent]) -> bool:
    """Whether some published state of each pool knows its last event."""
    last = {pool: each.offset + index for each in sent for index, pool in enumerate(each.pools)}
    states = await states_of(site)
    return all(states[pool] and states[pool][-1].offset >= offset for pool, offset in last.items())


def _reached_s(series: Sequence[Reached], offset: int) -> float:
    return series[bisect_left(series, offset, key=lambda each: each.offset)].at_s


async def _ledger(site: Site) -> dict[int, list[Reached]]:
    """Return by partition when its changelog reached which offset."""
    series: dict[int, list[Reached]] = defaultdict(list)
    async for record in _all(site, CHANGELOG):
        if record.key is not None and record.value is not None and record.key.startswith(b"p|"):
            entry = decode_entry(record.value)
            assert isinstance(entry, PartitionEntry)
            series[record.partition].append(
                Reached(entry.position.offset, record.timestamp_ms / 1_000)
            )
    return series


async def ticks_of(site: Site) -> dict[str, list[Reached]]:
    """Return by pool when a tick that knew the ledger up to which offset was recorded."""
    return await _known(site, lambda tick, recorded_s: recorded_s)


async def states_of(site: Site) -> dict[str, list[Reached]]:
    """Return by pool when a published state knew the ledger up to which offset."""
    published = await published_s(site)
    return await _known(site, lambda tick, recorded_s: published[tick.pool].get(tick.version))


async def _known(
    site: Site, at_s: Callable[[Tick, float], float | None]
) -> dict[str, list[Reached]]:
    """Return by pool what its ticks knew of the ledger, at the instants that ``at_s`` gives."""
    series: dict[str, list[Reached]] = defaultdict(list)
    async for record in _all(site, TICKS):
        tick = decode(record.value or b"", Tick)
        instant_s = at_s(tick, record.timestamp_ms / 1_000)
        if tick.inputs.ledger is not None and instant_s is not None:
            series[tick.pool].append(Reached(tick.inputs.ledger.offset, instant_s))
    return series


async def published_s(site: Site) -> dict[str, dict[Version, float]]:
    """Return by pool when each version of its state was published."""
    published: dict[str, dict[Version, float]] = defaultdict(dict)
    async for record in _all(site, ADMISSION_STATE):
        if record.value is not None:
            state = decode(record.value, AdmissionState)
            published[state.pool][state.version] = record.timestamp_ms / 1_000
    return published


def _all(site: Site, name: str) -> AsyncIterator[Record]:
    return read_whole(site.options, site.topic(name), range(site.options.partitions))


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of sorted values."""
    return values[min(len(values) - 1, len(values) * percent // 100)]
