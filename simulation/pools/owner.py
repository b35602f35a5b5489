"""Owner: the worker that owns the pool's partition, from its takeover to its end.

It folds usage and ticks as ``streams.meter`` and ``streams.agents.tick`` do, in the same order of
writes: verdicts, forwards, changelog, memory; record, then state.  What it has written is durable,
what it knows dies with it.  Between two writes it may crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.capacity import PoolCapacity
from schemas.ledger import TickRecord, WindowTotals
from schemas.pools import Pool
from schemas.reports import AdmitterReport
from schemas.specs import FIRST_EPOCH
from schemas.state import AdmissionState, state_key
from schemas.ticks import Tick
from schemas.units import US_PER_MS
from schemas.verdicts import VerdictCounts, decode_verdict
from schemas.wire import decode, encode
from simulation.pools.clocks import Clock
from simulation.pools.faults import Stage
from simulation.pools.usage_log import PARTITIONS, UsageLog
from simulation.pools.wire import Stored, Topic
from streams.core.capacity import winner
from streams.core.hearing import Hearing
from streams.core.judge import Bound, Record, bound_of
from streams.core.ledger import fold
from streams.core.outcome import Increment, Outcome, Place, States, apply, with_verdicts_offset
from streams.core.payout import Payout
from streams.core.reports import Reading, Reported
from streams.core.restore import (
    changes_of,
    debt_key,
    latest_ticks,
    restore,
    rewritten,
)
from streams.core.tick import TickOutcome, TickSources, advance

RECORDS_PER_FOLD_MAX: Final = 2_000
TICKS_KEPT_MAX: Final = 64


class CrashedError(Exception):
    """The process has ended between two writes."""


@dataclass
class Durable:
    """What outlives every owner: logs, changelogs and topics."""

    pool: Pool
    """As applied last."""
    usage: UsageLog
    states: Topic
    consumption: list[dict[bytes, bytes]] = field(
        default_factory=lambda: [{} for _ in range(PARTITIONS)]
    )
    debt: dict[bytes, bytes] = field(default_factory=dict)
    verdicts: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    capacity: dict[bytes, tuple[PoolCapacity, int]] = field(default_factory=dict)
    """By key, with the broker's timestamp in ms."""
    ticks: list[TickOutcome] = field(default_factory=list)
    """The last ones whose record was acknowledged, by whatever owner."""
    published: list[AdmissionState] = field(default_factory=list)
    """The last parts written to ``admission-state``, by whatever owner."""
    on_tick: Callable[[Tick], None] = field(default=lambda _: None, kw_only=True)

    def remember(self, outcome: TickOutcome) -> None:
        """Keep an acknowledged tick for who looks at the world."""
        self.ticks = [*self.ticks[1 - TICKS_KEPT_MAX :], outcome]
        self.on_tick(outcome.tick)


@dataclass
class Ledger:
    """One partition while it is owned."""

    place: Place
    states: States
    generations: dict[bytes, int]
    bound: Bound

    @property
    def folded_through(self) -> int:
        """The last offset folded in; -1: none."""
        position = self.states.position
        return -1 if position is None else position.offset


@dataclass
class Owner:
    """One worker, in one generation of the group."""

    generation: int
    durable: Durable
    clock: Clock
    pool: Pool = field(init=False)
    """The spec as this worker knows it."""
    doomed: Stage | None = None
    """Where it is about to crash."""
    ledgers: list[Ledger] = field(default_factory=list)
    record: TickRecord | None = None
    _hearing: Hearing = field(default_factory=Hearing)
    _last: Reading | None = None
    _former: int = 0
    _inherited: bool = False
    _payout: Payout = field(default_factory=Payout)
    _ticked_us: int | None = None

    def __post_init__(self) -> None:
        self.pool = self.durable.pool
        for partition in range(PARTITIONS):
            self.ledgers.append(self._restored(partition))
        stored = latest_ticks(self.durable.debt).get(self.durable.pool.name)
        if stored is not None:
            self.record, self._former = stored
        else:
            self._former = self.generation
        self._inherited = stored is not None

    @property
    def name(self) -> str:
        """As the story calls it."""
        return f"owner-{self.generation}"

    @property
    def totals(self) -> dict[str, WindowTotals]:
        """The ledger's totals by entitlement, through ``folded_through``."""
        states = self.home.states
        return {uid: entry.totals for (_, uid), entry in states.totals.items()}

    @property
    def home(self) -> Ledger:
        """The pool's own partition."""
        return self.ledgers[self.durable.usage.home]

    def verdicts(self, partition: int) -> VerdictCounts:
        """Return how the partition's events were judged."""
        entry = self.ledgers[partition].states.partition
        return VerdictCounts() if entry is None else entry.counts

    def hear(self, record: Stored, now_us: int) -> None:
        """Merge one report."""
        self._last = Reading(read_us=self.clock.wall_us(now_us), stored_us=record.stored_us)
        self._hearing.take(decode(record.value, AdmitterReport), self._last)

    def poll(self, now_us: int) -> None:
        """Fold what has arrived of every partition."""
        for ledger in self.ledgers:
            records = self.durable.usage.read(
                ledger.place.partition,
                after=ledger.folded_through,
                now_us=now_us,
                most=RECORDS_PER_FOLD_MAX,
            )
            if records:
                self._fold(ledger, records, now_us=now_us)

    def tick(self, now_us: int) -> TickOutcome:
        """Run one tick: record, then state."""
        outcome = advance(self.record, self._sources(now_us))
        pool = self.durable.pool.name
        self.durable.debt[debt_key(pool, self.generation)] = encode(outcome.record)
        if self._former != self.generation:
            self.durable.debt.pop(debt_key(pool, self._former), None)
        before = self.record.state if self.record else ()
        self.record, self._former = outcome.record, self.generation
        self.durable.remember(outcome)
        self._may_crash(Stage.RECORD)
        self._publish(outcome, parts_before=len(before), now_us=now_us)
        return outcome

    def _publish(self, outcome: TickOutcome, *, parts_before: int, now_us: int) -> None:
        pool, states = self.durable.pool.name, self.durable.states
        for each in outcome.publish:
            self.durable.published = [*self.durable.published[1 - TICKS_KEPT_MAX :], each]
            states.put(state_key(pool, each.part), encode(each), now_us=now_us)
        for part in range(len(outcome.publish), parts_before if outcome.publish else 0):
            states.put(state_key(pool, part), None, now_us=now_us)

    def _restored(self, partition: int) -> Ledger:
        stored = self.durable.consumption[partition]
        restored = restore(stored.items())
        entry = restored.states.partition
        start = 0 if entry is None else entry.verdicts_offset
        published = [decode_verdict(raw) for raw in self.durable.verdicts[partition][start:]]
        for key in restored.superseded:
            stored.pop(key, None)
        return Ledger(
            place=Place(partition, PARTITIONS, FIRST_EPOCH, self.generation),
            states=restored.states,
            generations=dict(restored.generations),
            bound=bound_of(published, epoch=FIRST_EPOCH),
        )

    def _fold(self, ledger: Ledger, records: Sequence[Record], *, now_us: int) -> None:
        outcome = self._judge(ledger, records)
        if outcome.misses_spec:
            self.pool = self.durable.pool
            outcome = self._judge(ledger, records)
        if outcome.partition is None:
            return
        outcome = self._judged(ledger, outcome, now_us=now_us)
        self._may_crash(Stage.VERDICTS)
        stored = self.durable.consumption[ledger.place.partition]
        for key, value in changes_of(
            outcome, ledger.states, generations=ledger.generations, generation=self.generation
        ):
            if value is None:
                stored.pop(key, None)
            else:
                stored[key] = value
        self._may_crash(Stage.CHANGELOG)
        rewritten(outcome, ledger.states, ledger.generations)
        apply(ledger.states, outcome)
        self.durable.usage.forget(ledger.place.partition, through=ledger.folded_through)
        self._serve(outcome.increments, now_us=now_us)

    def _judge(self, ledger: Ledger, records: Sequence[Record]) -> Outcome:
        return fold(
            ledger.states,
            records,
            specs={self.pool.name: self.pool},
            place=ledger.place,
            bound=ledger.bound,
        )

    def _judged(self, ledger: Ledger, outcome: Outcome, *, now_us: int) -> Outcome:
        """Write forwards and verdicts; return the outcome that knows where they end."""
        for each in outcome.forwards:
            self.durable.usage.forward(
                self.durable.usage.home, each.value, each.headers, now_us=now_us
            )
        verdicts = self.durable.verdicts[ledger.place.partition]
        judged = () if outcome.judged is None else (outcome.judged,)
        verdicts += [encode(each) for each in (*outcome.verdicts, *judged)]
        return with_verdicts_offset(outcome, len(verdicts))

    def _serve(self, increments: tuple[Increment, ...], *, now_us: int) -> None:
        for each in increments:
            self._payout.add(
                each.entitlement,
                cost_tokens=each.cost_tokens,
                duration_us=each.duration_us,
                now_us=self.clock.wall_us(now_us),
            )

    def _sources(self, world_us: int) -> TickSources:
        pool, now_us = self.pool, self.clock.wall_us(world_us)
        last_us = self._ticked_us
        since_us = min(
            now_us - pool.policy.tick_ms * US_PER_MS if last_us is None else last_us, now_us
        )
        self._ticked_us = now_us
        takeover, self._inherited = self._inherited, False
        return TickSources(
            now_us=now_us,
            elapsed_us=max(1, now_us - since_us),
            generation=self.generation,
            pool=pool,
            capacity=winner(list(self.durable.capacity.values()), now_us=now_us, pool=pool),
            reports=self._heard(now_us),
            served_tokens=self._payout.take(since_us=since_us, until_us=now_us),
            ledger=self.home.states.position,
            takeover=takeover,
        )

    def _heard(self, now_us: int) -> tuple[Reported, ...]:
        if self._last is None:
            return ()
        return self._hearing.of(self._last, now_us=now_us, leases=self.pool.leases)

    def _may_crash(self, stage: Stage) -> None:
        if self.doomed is stage:
            raise CrashedError(stage)
