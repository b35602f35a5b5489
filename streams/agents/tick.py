"""The tick: once per ``tickMs`` and owned pool, from sources to a published state.

It runs on the worker that owns the pool's partition, never on Faust's leader and never while
recovering.  The tick's record is acknowledged in the changelog of ``debt`` before its state and the
tick itself are published, so a state that an admitter follows is always remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.connections import KafkaOptions
from schemas.ledger import TickRecord
from schemas.partitioning import partition_of
from schemas.pools import Pool
from schemas.state import AdmissionState, state_key
from schemas.topics import ADMISSION_STATE, DEBT_TABLE, TICKS, changelog_topic
from schemas.units import US_PER_MS
from schemas.wire import encode
from streams import metrics
from streams.agents.reports import Admitters
from streams.book import PoolBook
from streams.core.capacity import winner
from streams.core.outcome import Increment
from streams.core.payout import Payout
from streams.core.restore import debt_key
from streams.core.tick import TickOutcome, TickSources, advance
from streams.kafka import Publisher
from streams.meter import Meter
from streams.record_batches import BatchTooLargeError

NAP_S: Final = 0.02
"""The longest that a due tick waits."""

Stored = Mapping[str, tuple[TickRecord, int]]


@dataclass(frozen=True)
class Draft:
    """One pool's tick before it is written."""

    pool: str
    outcome: TickOutcome
    generation: int
    former: int
    """The generation under which the pool's record is stored."""
    parts_before: int
    """Parts of the state published before."""

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """Return the changelog records, the tombstone of a former generation included."""
        changes: list[tuple[bytes, bytes | None]] = [
            (debt_key(self.pool, self.generation), encode(self.outcome.record)),
        ]
        if self.former != self.generation:
            changes.append((debt_key(self.pool, self.former), None))
        return changes

    def states(self) -> list[tuple[bytes, bytes | None]]:
        """Return the parts of the state to publish, and tombstones of those that are gone."""
        published = self.outcome.publish
        states: list[tuple[bytes, bytes | None]] = [
            (state_key(self.pool, each.part), encode(each)) for each in published
        ]
        gone = range(len(states), self.parts_before) if states else range(0)
        return states + [(state_key(self.pool, part), None) for part in gone]


class Ticker:
    """Ticks the pools whose partition is owned."""

    def __init__(
        self,
        options: KafkaOptions,
        *,
        book: PoolBook,
        admitters: Admitters,
        publisher: Publisher,
        bulk: Publisher,
        store: Callable[[int, Sequence[tuple[bytes, bytes | None]], int], None],
        now_us: Callable[[], int],
    ) -> None:
        self._options = options
        self._book = book
        self._admitters = admitters
        self._publisher = publisher
        self._bulk = bulk
        """For the records that grow with the pool: the tick's and the tick itself."""
        self._store = store
        self._now_us = now_us
        self._records: dict[str, tuple[TickRecord, int]] = {}
        self._inherited: set[str] = set()
        self._payouts: dict[str, Payout] = {}
        self._ticked_us: dict[str, int] = {}

    def adopt(self, stored: Stored) -> None:
        """Go on from the stored records of the pools that are owned now."""
        self._records = dict(stored)
        self._inherited = set(stored)
        self._payouts = {}
        self._ticked_us = {}
        self._admitters.forget()

    def serve(self, increments: Iterable[Increment]) -> None:
        """Take over what the ledger has folded, to be paid out over its production time."""
        now_us = self._now_us()
        for each in increments:
            payout = self._payouts.setdefault(each.pool, Payout())
            payout.add(
                each.entitlement,
                cost_tokens=each.cost_tokens,
                duration_us=each.duration_us,
                now_us=now_us,
            )

    async def run(self, meter: Meter, *, may_tick: Callable[[], bool]) -> None:
        """Tick for ever; any failure ends the process."""
        while True:
            if may_tick():
                due: dict[int, list[tuple[Pool, int]]] = {}
                for pool, generation in meter.owned_pools():
                    if self._is_due(pool):
                        due.setdefault(self._partition(pool.name), []).append((pool, generation))
                await asyncio.gather(
                    *(self._tick(partition, pools, meter=meter) for partition, pools in due.items())
                )
            await asyncio.sleep(NAP_S)

    def _is_due(self, pool: Pool) -> bool:
        last_us = self._ticked_us.get(pool.name, 0)
        elapsed_us = self._now_us() - last_us
        return elapsed_us >= pool.policy.tick_ms * US_PER_MS or elapsed_us < 0

    async def _tick(
        self, partition: int, pools: Iterable[tuple[Pool, int]], *, meter: Meter
    ) -> None:
        """Tick the pools of one partition and write what they all publish together."""
        begun_s = time.monotonic()
        drafts: list[Draft] = []
        for pool, generation in pools:
            record, former = self._records.get(pool.name, (None, generation))
            outcome = advance(record, self._sources(pool, generation, meter=meter))
            drafts.append(Draft(pool.name, outcome, generation, former, _parts(record)))
        await self._remember(partition, drafts)
        await asyncio.gather(
            self._publisher.send_all(
                self._options.topic(ADMISSION_STATE),
                [(partition, key, value, ()) for each in drafts for key, value in each.states()],
            ),
            self._bulk.send_all(
                self._options.topic(TICKS),
                [(partition, each.pool.encode(), encode(each.outcome.tick), ()) for each in drafts],
            ),
        )
        for each in drafts:
            _measure(each.pool, each.outcome, seconds=time.monotonic() - begun_s)

    def _partition(self, pool: str) -> int:
        return partition_of(pool, self._options.partitions)

    def _sources(self, pool: Pool, generation: int, *, meter: Meter) -> TickSources:
        now_us = self._now_us()
        since_us = min(self._ticked_us.get(pool.name, now_us - pool.policy.tick_ms * 1_000), now_us)
        self._ticked_us[pool.name] = now_us
        payout = self._payouts.setdefault(pool.name, Payout())
        takeover = pool.name in self._inherited
        self._inherited.discard(pool.name)
        return TickSources(
            now_us=now_us,
            elapsed_us=max(1, now_us - since_us),
            generation=generation,
            pool=pool,
            capacity=winner(self._book.capacity_of(pool.name), now_us=now_us, pool=pool),
            reports=self._admitters.of(pool.name, leases=pool.leases),
            served_tokens=payout.take(since_us=since_us, until_us=now_us),
            ledger=meter.position_of(pool.name),
            takeover=takeover,
        )

    async def _remember(self, partition: int, drafts: Sequence[Draft]) -> None:
        """Write the records of the ticks as one record batch, or pool by pool if it is too large.

        A pool's record and the tombstone of its former generation are never apart.
        """
        try:
            await self._write(partition, drafts)
        except BatchTooLargeError:
            if len(drafts) == 1:
                raise
            for each in drafts:
                await self._write(partition, [each])

    async def _write(self, partition: int, drafts: Sequence[Draft]) -> None:
        changes = [change for each in drafts for change in each.changes()]
        topic = self._options.topic(changelog_topic(DEBT_TABLE))
        first_offset = await self._bulk.send_atomically(topic, partition, changes)
        self._store(partition, changes, first_offset)
        for each in drafts:
            self._records[each.pool] = (each.outcome.record, each.generation)


def _parts(record: TickRecord | None) -> int:
    states: tuple[AdmissionState, ...] = () if record is None else record.state
    return len(states)


def _measure(pool: str, outcome: TickOutcome, *, seconds: float) -> None:
    metrics.TICKS.labels(pool).inc()
    metrics.TICK_SECONDS.labels(pool).observe(seconds)
    metrics.STATES.labels(pool).inc(len(outcome.publish))
    metrics.DEBT.labels(pool).set(sum(each.debt_ppm for each in outcome.record.debts))
    metrics.CONTENDED.labels(pool).set(int(outcome.tick.contended))
    metrics.EXCESS_SLOTS.labels(pool).set(outcome.tick.excess.slots)
    metrics.ADMITTERS.labels(pool).set(sum(each.alive for each in outcome.record.admitters))
