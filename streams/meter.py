"""The meter: the ledger's partitions that this worker owns, and the order in which it writes.

One fold after the other: what a fold changes is built as one record batch, put into memory and
handed to the pipeline, and the next is folded while it is written.  Verdicts, forwards and rollups
are acknowledged before the fold's changelog batch, that before its offset may be committed, and the
changelog batches of a partition one after the other.  All are keyed by position or version, so
whatever is repeated after a crash changes nothing.  Any failed write ends the process, memory and
all: it starts again from the changelog.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from schemas.connections import KafkaOptions
from schemas.errors import TokenpoolsError
from schemas.partitioning import partition_of
from schemas.pools import Pool
from schemas.positions import Position
from schemas.rollups import rollup_key
from schemas.topics import CONSUMPTION_TABLE, ROLLUPS, USAGE, VERDICTS, changelog_topic
from schemas.wire import encode
from streams import folds, metrics
from streams.core.judge import Record
from streams.core.ledger import Limits, fold, rest
from streams.core.outcome import Increment, Outcome, Place, apply, with_verdicts_offset
from streams.core.restore import Restored, changes_of, restore, rewritten
from streams.owned import Owned
from streams.pipeline import Pipeline, Write
from streams.record_batches import BatchTooLargeError, Built, Outgoing
from streams.takeover import published, verify_coverage, verify_logs

log = logging.getLogger(__name__)

FOLD_BYTES_MAX: Final = 4 * 1_048_576
"""Bytes of usage folded at once; what they change should fit one record batch."""
IDLE_S: Final = 1.0
"""A partition that folds nothing for so long publishes what it holds back."""
TOMBSTONES_MAX: Final = 5_000
"""Superseded keys removed in one record batch."""

Stored = Mapping[bytes, bytes]
Changes = Sequence[tuple[bytes, bytes | None]]
OnServed = Callable[[Sequence[Increment]], None]
Store = Callable[[int, Changes, int], None]
"""Told of an acknowledged record batch of the changelog: partition, records, first offset."""
OnWritten = Callable[[int, int], None]
"""Told through which offset a partition is written: partition, offset."""


def _nobody_served(increments: Sequence[Increment]) -> None:
    """Tell nobody."""


def _nothing_stored(partition: int, changes: Changes, first_offset: int) -> None:
    """Tell nobody."""


def _nothing_written(partition: int, through: int) -> None:
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

    def build(self, records: Changes) -> Built:
        """Return one record batch of all records, or raise ``BatchTooLargeError``."""

    async def send_built(self, topic: str, partition: int, built: Built) -> int:
        """Write a record batch; return the offset of its first record."""


class HoleError(TokenpoolsError):
    """Records were lost between the fetch and the fold: never skipped, the process ends."""


class Meter:
    """Folds batches of usage and writes what they change."""

    def __init__(
        self,
        options: KafkaOptions,
        *,
        book: Book,
        publisher: Writer,
        pipeline: Pipeline,
        limits: Limits,
        rebuild: bool = False,
    ) -> None:
        self._options = options
        self._book = book
        self._publisher = publisher
        self._pipeline = pipeline
        self._limits = limits
        self._rebuild = rebuild
        self._owned: dict[int, Owned] = {}
        self._is_finishing = False
        self._specs_known_s = -math.inf
        """Everything applied before this monotonic time is in the book."""
        self._on_served: OnServed = _nobody_served
        self._store: Store = _nothing_stored
        self._on_written: OnWritten = _nothing_written

    def connect(self, *, store: Store, on_served: OnServed) -> None:
        """Say who is told of what was written, and of the tokens that were served."""
        self._store = store
        self._on_served = on_served

    def tell(self, on_written: OnWritten) -> None:
        """Say who may commit what was written."""
        self._on_written = on_written

    # --- ownership -------------------------------------------------------------------------------

    def release(self) -> None:
        """Own nothing: the partitions are being assigned anew."""
        for partition in self._owned:
            metrics.forget(partition)
        self._owned = {}
        metrics.OWNED.set(0)

    async def written(self, *, within_s: float) -> None:
        """Wait until nothing is under way, but not for longer than that."""
        try:
            async with asyncio.timeout(within_s):
                await self._pipeline.drained()
        except TimeoutError:
            log.warning("event=drain_timed_out after_s=%.0f: the rest is folded again", within_s)

    async def adopt(self, stored: Mapping[int, Stored], *, generation: int) -> dict[int, Owned]:
        """Return the partitions as their changelogs and ``verdicts`` leave them.

        Refuses a log that is not the one the ledger was made from.  What this worker still had to
        write in a former generation is waited for, so that it is among what was stored.
        """
        await self._pipeline.drained()
        restored = {partition: restore(records.items()) for partition, records in stored.items()}
        epoch = self._book.epoch
        entries = {
            partition: each.states.partition
            for partition, each in restored.items()
            if each.states.partition is not None
        }
        await verify_logs(self._options, entries, epoch=epoch)
        await verify_coverage(
            self._options, list(restored), entries, epoch=epoch, rebuild=self._rebuild
        )
        bounds = await published(self._options, list(restored), entries, epoch=epoch)
        owned = {
            partition: Owned(
                place=Place(partition, self._options.partitions, epoch, generation),
                states=each.states,
                generations=each.generations,
                bound=bounds[partition],
                verdicts_offset=entries[partition].verdicts_offset if partition in entries else 0,
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
                changes = [(key, None) for key in keys]
                await self._send(partition, changes, self._publisher.build(changes))

    def resume_at(self, partition: int) -> int:
        """Return the offset from which the partition must be read."""
        owned = self._owned.get(partition)
        return 0 if owned is None else owned.folded_through + 1

    def position_of(self, pool: str) -> Position | None:
        """Return the ledger's position in the pool's partition."""
        owned = self._owned.get(partition_of(pool, self._options.partitions))
        return None if owned is None else owned.states.position

    def owned_pools(self) -> Iterator[tuple[Pool, int]]:
        """Yield the pools whose partition is owned, with its group generation."""
        for pool in self._book.pools.values():
            owned = self._owned.get(partition_of(pool.name, self._options.partitions))
            if owned is not None:
                yield pool, owned.place.generation

    # --- folding ---------------------------------------------------------------------------------

    async def fold(
        self,
        partition: int,
        records: Sequence[Record],
        *,
        before: int,
        generation: int,
        size_bytes: int = 0,
        fetched_s: float = math.inf,
    ) -> None:
        """Fold one batch and begin to write it; nothing when the partition is not owned.

        ``before`` is the last offset delivered before the batch, ``fetched_s`` the monotonic time
        at which it was.
        """
        owned = self._owned.get(partition)
        if owned is None or owned.place.generation != generation:
            return
        if before > owned.folded_through:
            raise HoleError(
                f"partition {partition}: folded through {owned.folded_through}, but the next batch "
                f"follows {before}"
            )
        begun = 0
        while begun < len(records):
            await self._pipeline.room()
            count = _part_records(len(records), size_bytes, records_max=owned.records_max)
            part = records[begun : begun + count]
            outcome = await self._judged(owned, part, fetched_s=fetched_s)
            if outcome is None:
                return
            begun += len(part) if self._settle(owned, outcome, records=len(part)) else 0
            await asyncio.sleep(0)  # for the writes, and for the next fetch

    async def _judged(
        self, owned: Owned, records: Sequence[Record], *, fetched_s: float
    ) -> Outcome | None:
        """Return what the records change; None when the partition is not ours any more.

        Nothing is awaited between this outcome and the states that it was made from.  A spec that
        is missed is waited for once for all that was fetched already: whoever applied it before its
        events were sent has it in ``pools`` by then.
        """
        if not self._is_ours(owned):
            return None
        outcome = self._judge(owned, records)
        if outcome.misses_spec and fetched_s > self._specs_known_s:
            asked_s = time.monotonic()
            await self._book.caught_up()
            self._specs_known_s = asked_s
            return self._judge(owned, records) if self._is_ours(owned) else None
        return outcome

    def _judge(self, owned: Owned, records: Sequence[Record]) -> Outcome:
        return fold(
            owned.states,
            records,
            specs=self._book.pools,
            place=owned.place,
            bound=owned.bound,
            limits=self._limits,
        )

    def _is_ours(self, owned: Owned) -> bool:
        return self._owned.get(owned.place.partition) is owned and not self._is_finishing

    def _settle(self, owned: Owned, outcome: Outcome, *, records: int = 1) -> bool:
        """Build the record batch, put the outcome into memory and begin to write it.

        False, and nothing has changed: the changes of so many records do not fit one batch.
        """
        partition, states = owned.place.partition, owned.states
        metrics.REPLAYED.labels(partition).inc(outcome.skipped)
        if outcome.partition is None:
            return True
        outcome = with_verdicts_offset(outcome, owned.verdicts_offset)
        changes = changes_of(
            outcome, states, generations=owned.generations, generation=owned.place.generation
        )
        try:
            built = self._publisher.build(changes)
        except BatchTooLargeError:
            if records == 1:
                raise
            owned.records_max = records // 2
            return False
        rewritten(outcome, states, owned.generations)
        apply(states, outcome)
        owned.grow()
        owned.folded_s = time.monotonic()
        self._on_served(outcome.increments)
        folds.count(partition, outcome, states)
        self._write(owned, outcome, changes, built)
        return True

    # --- what is held back -----------------------------------------------------------------------

    async def tend(self) -> None:
        """Publish what idle partitions hold back, for ever."""
        while True:
            await asyncio.sleep(IDLE_S)
            self._publish_rest(idle_since_s=time.monotonic() - IDLE_S)

    async def finish(self, *, within_s: float) -> None:
        """Fold nothing more, publish what is held back and wait until everything is written."""
        self._is_finishing = True
        await self.written(within_s=within_s / 2)
        self._publish_rest(idle_since_s=time.monotonic())
        await self.written(within_s=within_s / 2)
        self._pipeline.abandon()

    def _publish_rest(self, *, idle_since_s: float) -> None:
        for owned in self._owned.values():
            is_idle = owned.folded_s <= idle_since_s
            if is_idle and owned.states.has_unpublished and self._pipeline.has_room:
                self._settle(owned, rest(owned.states))

    # --- writing ---------------------------------------------------------------------------------

    def _write(self, owned: Owned, outcome: Outcome, changes: Changes, built: Built) -> None:
        partition, through, begun_s = owned.place.partition, owned.folded_through, owned.folded_s

        async def first() -> None:
            published_through = await self._publish(owned.place, outcome)
            owned.verdicts_offset = max(owned.verdicts_offset, published_through + 1)

        async def then() -> None:
            await self._send(partition, changes, built)
            metrics.FOLD_SECONDS.observe(time.monotonic() - begun_s)
            if self._owned.get(partition) is owned:
                self._on_written(partition, through)

        self._pipeline.put(partition, Write(first, then, built.plain_bytes))

    async def _publish(self, place: Place, outcome: Outcome) -> int:
        """Write forwards, rollups and verdicts; return the offset of the last verdict, or -1."""
        key = str(place.partition).encode()
        judged = [*outcome.verdicts, *([outcome.judged] if outcome.judged else [])]
        _, _, last = await asyncio.gather(
            self._publisher.send_all(
                self._options.topic(USAGE),
                [
                    (partition_of(each.pool, place.partitions), each.key, each.value, each.headers)
                    for each in outcome.forwards
                ],
            ),
            self._publisher.send_all(
                self._options.topic(ROLLUPS),
                [(place.partition, rollup_key(each), encode(each), ()) for each in outcome.rollups],
            ),
            self._publisher.send_all(
                self._options.topic(VERDICTS),
                [(place.partition, key, encode(each), ()) for each in judged],
            ),
        )
        return last

    async def _send(self, partition: int, changes: Changes, built: Built) -> None:
        topic = self._options.topic(changelog_topic(CONSUMPTION_TABLE))
        first_offset = await self._publisher.send_built(topic, partition, built)
        self._store(partition, changes, first_offset)


def _part_records(records: int, size_bytes: int, *, records_max: int) -> int:
    """Return how many records may be folded at once: at least one."""
    by_bytes = records * FOLD_BYTES_MAX // size_bytes if size_bytes > FOLD_BYTES_MAX else records
    return max(1, min(by_bytes, records_max))
