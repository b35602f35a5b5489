"""The meter: the ledger's partitions that this worker owns, and the order in which it writes.

Verdicts, forwards and rollups of a batch are acknowledged before its changelog batch, and that
before the offset may be committed.  All are keyed by position or version, so whatever is repeated
after a crash changes nothing.  Any failed write ends the process: it starts again from the
changelog.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

from schemas.connections import KafkaOptions
from schemas.errors import TokenpoolsError
from schemas.partitioning import partition_of
from schemas.pools import Pool
from schemas.positions import Position
from schemas.rollups import rollup_key
from schemas.topics import CONSUMPTION_TABLE, ROLLUPS, USAGE, VERDICTS, changelog_topic
from schemas.verdicts import VerdictKind
from schemas.wire import encode
from streams import metrics
from streams.core.judge import NOTHING_BOUND, Bound, Record
from streams.core.ledger import fold
from streams.core.outcome import Increment, Outcome, Place, States, apply, with_verdicts_offset
from streams.core.restore import Restored, base_of, changes_of, removed, restore
from streams.record_batches import BatchTooLargeError, Outgoing
from streams.takeover import published, verify_logs

log = logging.getLogger(__name__)

FOLD_BYTES_MAX: Final = 1_048_576
"""Bytes of usage folded at once: what they change must fit one record batch."""
FOLD_RECORDS_MAX: Final = 2_000
TOMBSTONES_MAX: Final = 5_000
"""Superseded keys removed in one record batch."""

Stored = Mapping[bytes, bytes]
POOLS_PLACED_MAX: Final = 16_384
"""Pools whose partition is remembered; the tick asks for it many times a second."""

_home = lru_cache(maxsize=POOLS_PLACED_MAX)(partition_of)

Changes = Sequence[tuple[bytes, bytes | None]]
OnServed = Callable[[Sequence[Increment]], None]
Store = Callable[[int, Changes, int], None]
"""Told of an acknowledged record batch of the changelog: partition, records, first offset."""


def _nobody_served(increments: Sequence[Increment]) -> None:
    """Tell nobody."""


def _nothing_stored(partition: int, changes: Changes, first_offset: int) -> None:
    """Tell nobody."""


class Book(Protocol):
    """The specs as the meter needs them."""

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools by name."""

    @property
    def epoch(self) -> int:
        """The log epoch of ``usage``."""

    async def caught_up(self) -> None:
        """Return once every spec that was applied before this call is known."""


class Writer(Protocol):
    """What the meter writes through; it returns when all replicas have acknowledged."""

    async def send_all(self, topic: str, records: Sequence[Outgoing]) -> int:
        """Write the records in order; return the last one's offset."""

    async def send_atomically(self, topic: str, partition: int, records: Changes) -> int:
        """Write all records as one record batch."""


class HoleError(TokenpoolsError):
    """Records were lost between the fetch and the fold: never skipped, the process ends."""


@dataclass
class Owned:
    """One partition while this worker owns it."""

    place: Place
    states: States
    generations: dict[bytes, int] = field(default_factory=dict)
    bound: Bound = NOTHING_BOUND

    @property
    def folded_through(self) -> int:
        """The last offset folded in of the present epoch; -1: none."""
        position = self.states.position
        return position.offset if position and position.epoch == self.place.epoch else -1


class Meter:
    """Folds batches of usage and writes what they change."""

    def __init__(
        self,
        options: KafkaOptions,
        *,
        book: Book,
        publisher: Writer,
        marks_max: int,
    ) -> None:
        self._options = options
        self._book = book
        self._publisher = publisher
        self._marks_max = marks_max
        self._owned: dict[int, Owned] = {}
        self._on_served: OnServed = _nobody_served
        self._store: Store = _nothing_stored

    def connect(self, *, store: Store, on_served: OnServed) -> None:
        """Say who is told of what was written, and of the tokens that were served."""
        self._store = store
        self._on_served = on_served

    # --- ownership -------------------------------------------------------------------------------

    def release(self) -> None:
        """Own nothing: the partitions are being assigned anew."""
        self._owned = {}
        metrics.OWNED.set(0)

    async def adopt(self, stored: Mapping[int, Stored], *, generation: int) -> dict[int, Owned]:
        """Return the partitions as their changelogs and ``verdicts`` leave them.

        Refuses a log that is not the one the ledger was made from.
        """
        restored = {partition: restore(records.items()) for partition, records in stored.items()}
        epoch = self._book.epoch
        entries = {
            partition: each.states.partition
            for partition, each in restored.items()
            if each.states.partition is not None
        }
        await verify_logs(self._options, entries, epoch=epoch)
        bounds = await published(self._options, list(restored), entries, epoch=epoch)
        owned = {
            partition: Owned(
                place=Place(partition, self._options.partitions, epoch, generation),
                states=each.states,
                generations=each.generations,
                bound=bounds[partition],
            )
            for partition, each in restored.items()
        }
        await self._bury(restored)
        return owned

    def own(self, owned: dict[int, Owned]) -> None:
        """Begin to fold the adopted partitions."""
        self._owned = owned
        metrics.OWNED.set(len(owned))
        for partition, each in owned.items():
            log.info(
                "event=partition_owned partition=%d generation=%d position=%s entitlements=%d",
                partition,
                each.place.generation,
                each.states.position,
                len(each.states.totals),
            )

    async def _bury(self, restored: Mapping[int, Restored]) -> None:
        """Write tombstones for the records of superseded generations."""
        for partition, each in restored.items():
            for start in range(0, len(each.superseded), TOMBSTONES_MAX):
                keys = each.superseded[start : start + TOMBSTONES_MAX]
                await self._write(partition, [(key, None) for key in keys])

    def resume_at(self, partition: int) -> int:
        """Return the offset from which the partition must be read."""
        owned = self._owned.get(partition)
        return 0 if owned is None else owned.folded_through + 1

    def position_of(self, pool: str) -> Position | None:
        """Return the ledger's position in the pool's partition."""
        owned = self._owned.get(_home(pool, self._options.partitions))
        return None if owned is None else owned.states.position

    def owned_pools(self) -> Iterator[tuple[Pool, int]]:
        """Yield the pools whose partition is owned, with its group generation."""
        for pool in self._book.pools.values():
            owned = self._owned.get(_home(pool.name, self._options.partitions))
            if owned is not None:
                yield pool, owned.place.generation

    # --- folding ---------------------------------------------------------------------------------

    async def fold(
        self, partition: int, records: Sequence[Record], *, before: int, generation: int
    ) -> int | None:
        """Fold one batch and return the offset through which it is written; None: not owned.

        ``before`` is the last offset delivered before the batch.
        """
        owned = self._owned.get(partition)
        if owned is None or owned.place.generation != generation:
            return None
        if before > owned.folded_through:
            raise HoleError(
                f"partition {partition}: folded through {owned.folded_through}, but the next batch "
                f"follows {before}"
            )
        for part in _parts(records):
            await self._fold(owned, part)
        return owned.folded_through

    async def _fold(self, owned: Owned, records: Sequence[Record]) -> None:
        begun_s = time.monotonic()
        outcome = self._judge(owned, records)
        if outcome.misses_spec:
            await self._book.caught_up()
            outcome = self._judge(owned, records)
        metrics.REPLAYED.labels(owned.place.partition).inc(outcome.skipped)
        if outcome.partition is None:
            return
        outcome = with_verdicts_offset(outcome, await self._publish(owned, outcome))
        changes = changes_of(
            outcome,
            owned.states,
            generations=owned.generations,
            generation=owned.place.generation,
        )
        try:
            await self._write(owned.place.partition, changes)
        except BatchTooLargeError:
            if len(records) == 1:
                raise
            half = len(records) // 2
            await self._fold(owned, records[:half])
            await self._fold(owned, records[half:])
            return
        self._settle(owned, outcome)
        metrics.FOLD_SECONDS.observe(time.monotonic() - begun_s)

    def _judge(self, owned: Owned, records: Sequence[Record]) -> Outcome:
        return fold(
            owned.states,
            records,
            specs=self._book.pools,
            place=owned.place,
            bound=owned.bound,
            marks_max=self._marks_max,
        )

    async def _publish(self, owned: Owned, outcome: Outcome) -> int:
        """Write forwards, rollups and verdicts; return the offset after the last verdict."""
        partition, partitions = owned.place.partition, owned.place.partitions
        key = str(partition).encode()
        judged = [*outcome.verdicts, *([outcome.judged] if outcome.judged else [])]
        _, _, last = await asyncio.gather(
            self._publisher.send_all(
                self._options.topic(USAGE),
                [
                    (_home(each.pool, partitions), each.key, each.value, each.headers)
                    for each in outcome.forwards
                ],
            ),
            self._publisher.send_all(
                self._options.topic(ROLLUPS),
                [(partition, rollup_key(each), encode(each), ()) for each in outcome.rollups],
            ),
            self._publisher.send_all(
                self._options.topic(VERDICTS),
                [(partition, key, encode(each), ()) for each in judged],
            ),
        )
        return last + 1

    async def _write(self, partition: int, changes: Changes) -> None:
        topic = self._options.topic(changelog_topic(CONSUMPTION_TABLE))
        first_offset = await self._publisher.send_atomically(topic, partition, changes)
        self._store(partition, changes, first_offset)

    def _settle(self, owned: Owned, outcome: Outcome) -> None:
        """Put a written outcome into memory, and count it."""
        for entry in outcome.entries:
            owned.generations[base_of(entry)] = owned.place.generation
        for base in removed(owned.states, outcome):
            owned.generations.pop(base, None)
        apply(owned.states, outcome)
        self._on_served(outcome.increments)
        _count(owned, outcome)


def _parts(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Yield the records in parts that one fold may take; always at least one record."""
    start = size = 0
    for index, record in enumerate(records):
        grown = size + len(record.value or b"")
        if index > start and (grown > FOLD_BYTES_MAX or index - start >= FOLD_RECORDS_MAX):
            yield records[start:index]
            start, grown = index, len(record.value or b"")
        size = grown
    if start < len(records):
        yield records[start:]


def _count(owned: Owned, outcome: Outcome) -> None:
    partition = owned.place.partition
    for kind in VerdictKind:
        number = getattr(outcome.counts, kind.value)
        if number:
            metrics.EVENTS.labels(partition, kind.value).inc(number)
    for verdict in outcome.verdicts:
        if verdict.verdict is VerdictKind.DEAD:
            metrics.DEAD.labels(verdict.reason).inc()
    metrics.MARKS.labels(partition).set(len(owned.states.marks))
    if outcome.partition is not None:
        metrics.FLOOR.labels(partition).set(outcome.partition.floor_us)
    if outcome.dropped_by_budget and outcome.partition is not None:
        metrics.HORIZON_CUTS.labels(partition).inc()
        log.warning(
            "event=horizon_cut partition=%d floor_us=%d marks=%d: the budget of marks is full "
            "(TOKENPOOLS_MARKS_MAX); events from before the floor are late",
            partition,
            outcome.partition.floor_us,
            len(owned.states.marks),
        )
