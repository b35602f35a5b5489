"""The driver: Faust's Kafka consumer, delivering what one poll brought for one partition at once.

Kept from Faust: group membership, assignment, recovery, the commit loop, rebalancing.  Changed:

* the records that one poll brought for one partition of a *batched* topic arrive as one ``Batch``;
* positions are ours: a partition is read from where the ledger stands (``resume_at``) and what is
  committed is what the ledger has written (``acknowledge``), never what Faust calls acked, so an
  event whose processing raised or was cancelled is read again;
* while Faust is rebalancing only changelogs are fetched, and those only after its recovery has
  said where to begin; their records go to our mirrors at once (``changelog``), and what Faust gets
  to see of them is one message per poll and partition, by which it knows how far they were read;
* each batch names the offset delivered before it, so that a hole shows;
* what is delivered and not folded yet is bounded in bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, cast

import aiokafka
from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as faust_driver
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP, AppT, ConsumerMessage
from faust.types.transports import ConsumerT

from streams.core.judge import Record
from streams.fetching import MUCH_BYTES, Fetched, bytes_of, poll, up_to_date

IDLE_S: Final = 0.05

MS_PER_S: Final = 1_000
NS_PER_MS: Final = 1_000_000


@dataclass
class Backlog:
    """What was delivered and is not folded yet; a seek or a rebalance begins another."""

    bytes_max: int
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no more may be fetched."""
        return self.size_bytes >= self.bytes_max


@dataclass(frozen=True)
class Batch:
    """What one poll brought for one partition of a batched topic."""

    topic: str
    partition: int
    records: Sequence[Record]
    before: int
    """The last offset delivered before this batch, or one below where reading began."""
    generation: int
    size_bytes: int = 0
    fetched_s: float = field(default_factory=time.monotonic)
    backlog: Backlog = field(default_factory=lambda: Backlog(0))

    def done(self) -> None:
        """Make room for others: the batch has been folded."""
        self.backlog.size_bytes -= self.size_bytes

    @property
    def last(self) -> int:
        """The offset of the last record."""
        return self.records[-1].offset


@dataclass(frozen=True)
class Delivery:
    """How the driver treats our source topics."""

    batched: frozenset[str]
    """Topics whose records arrive in batches."""
    from_latest: frozenset[str]
    """Of those, the ones that are read from their end: soft state."""
    changelog: Callable[[str, int, Sequence[Any], int], None]
    """Takes what one poll brought of a changelog: topic, partition, records, offset before."""
    resume_at: Callable[[int], int]
    """The offset from which a partition of the other batched topics is read."""
    pace_s: float
    poll_wait_ms: int
    poll_bytes_min: int
    poll_bytes_max: int
    """Of one answer of the broker (compressed), and of one poll."""
    partition_bytes_max: int
    """Of one partition in one answer of the broker, compressed."""
    queued_bytes_max: int
    """Delivered and not folded yet."""
    whole_batches: bool


class ConsumerThread(AIOKafkaConsumerThread):
    """The thread that talks to Kafka, with the fetch settings that Faust fixes."""

    _polled_s = 0.0
    """When the last poll ended, on the monotonic clock."""

    def _create_worker_consumer(
        self, transport: faust_driver.Transport
    ) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        delivery = cast("Consumer", self.consumer).delivery
        consumer._fetch_max_wait_ms = delivery.poll_wait_ms
        consumer._fetch_min_bytes = delivery.poll_bytes_min
        consumer._fetch_max_bytes = delivery.poll_bytes_max
        consumer._max_partition_fetch_bytes = delivery.partition_bytes_max
        return consumer

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's own signature
        max_records: int | None = None,
    ) -> dict[Any, Any]:
        """Return ``Fetched`` by partition."""
        delivery = cast("Consumer", self.consumer).delivery

        async def once(timeout_s: float | None) -> dict[Any, Fetched]:
            return await self._fetched(consumer, active_partitions, timeout_s, max_records)

        fetched = await up_to_date(
            once,
            timeout_s=timeout,
            lay_s=time.monotonic() - self._polled_s,
            now_ms=time.time_ns() // NS_PER_MS,
            bytes_max=delivery.poll_bytes_max,
        )
        self._polled_s = time.monotonic()
        return fetched

    async def _fetched(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout_s: float | None,
        max_records: int | None,
    ) -> dict[Any, Fetched]:
        """Return what one poll brings, out of whole record batches where that was tested."""
        delivery = cast("Consumer", self.consumer).delivery
        if delivery.whole_batches:
            if not self.consumer.flow_active:
                return {}
            return await poll(
                consumer,
                active_partitions,
                timeout_s=timeout_s or 0.0,
                bytes_max=delivery.poll_bytes_max,
            )
        polled = await super()._fetch_records(
            consumer, active_partitions, timeout=timeout_s, max_records=max_records
        )
        return {tp: Fetched(records, bytes_of(records)) for tp, records in polled.items()}

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: Faust judges progress by acks per message, and there are none here."""


class Consumer(faust_driver.Consumer):
    """Faust's consumer with batches and with our own positions."""

    delivery: Delivery

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.delivery = cast(Transport, self.transport).delivery
        self._delivered: dict[TP, int] = {}
        self._acknowledged: dict[TP, int] = {}
        self._seeks = 0
        self._assignments = 0
        self._last_poll_bytes = 0
        self._idle_polls = 0
        self._backlog = Backlog(self.delivery.queued_bytes_max)

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def acknowledge(self, tp: TP, through: int) -> None:
        """Let the commit loop commit ``tp`` up to and including the offset ``through``."""
        self._acknowledged[tp] = through

    def behind(self, tp: TP, through: int) -> int:
        """Return how many offsets the partition's end is beyond ``through``, at the last poll."""
        return max(0, self.highwater(tp) - through - 1) if tp in self.assignment() else 0

    # --- fetching --------------------------------------------------------------------------------

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust's own signature
    ) -> Mapping[TP, list[Any]]:
        wanted = self._fetchable(active_partitions or set())
        if self._backlog.is_full:
            wanted = {tp for tp in wanted if not self._is_queued(tp)}
            timeout = min(timeout, IDLE_S)
        if not wanted:
            await asyncio.sleep(IDLE_S)
            return {}
        if self._last_poll_bytes < MUCH_BYTES and not self.app.in_recovery:
            await asyncio.sleep(self.delivery.pace_s)
        seeks, assignments = self._seeks, self._assignments
        polled: Any = await super()._getmany(wanted, timeout)
        fetched: Mapping[Any, Fetched] = polled
        self._last_poll_bytes = sum(each.size_bytes for each in fetched.values())
        if self.app.in_recovery:
            is_idle = not any(each.records for each in fetched.values())
            await self._pass_changelog_tails(is_idle=is_idle)
        overtaken = seeks != self._seeks or assignments != self._assignments
        return await self._batched(fetched, overtaken=overtaken)

    def _fetchable(self, active: set[TP]) -> set[TP]:
        """Return the partitions that may be read now: between two assignments, changelogs only.

        A changelog is read once recovery has placed it.
        """
        changelogs = {tp for tp in active if self._is_changelog_tp(tp)}
        placed = {tp for tp in changelogs if tp in self._delivered}
        return placed if self.app.rebalancing else (active - changelogs) | placed

    def _is_queued(self, tp: TP) -> bool:
        """Say whether the partition's records count as backlog."""
        return tp.topic in self.delivery.batched and tp.topic not in self.delivery.from_latest

    async def _batched(
        self, fetched: Mapping[Any, Fetched], *, overtaken: bool
    ) -> dict[TP, list[Any]]:
        """Return one batch per partition; what a seek or a rebalance overtook is read again.

        A poll can last from one assignment into the next and bring records from behind the place
        that was sought meanwhile: they are not dropped but fetched once more.
        """
        delivered: dict[TP, list[Any]] = {}
        for raw_tp, (records, size_bytes) in fetched.items():
            tp = TP(raw_tp.topic, raw_tp.partition)
            is_changelog = self._is_changelog_tp(tp)
            if not records:
                continue
            if overtaken or (self.app.rebalancing and not is_changelog):
                await self._rewind(tp)
            elif is_changelog:
                delivered[tp] = [self._changelog(tp, records)]
            else:
                delivered[tp] = [self._batch(tp, records, size_bytes)]
        return delivered

    def _changelog(self, tp: TP, records: Sequence[Any]) -> Batch:
        """Hand the records to the mirrors; return what tells Faust how far they reach."""
        before = self._delivered.get(tp, -1)
        self.delivery.changelog(tp.topic, tp.partition, records, before)
        return self._batch(tp, records[-1:], 0)

    async def _pass_changelog_tails(self, *, is_idle: bool) -> None:
        """End the recovery of changelogs whose end holds no record.

        A log may end in a transaction marker or in records that were compacted away; Faust would
        wait for an offset that never comes.  Two idle polls in a row: nothing is on its way.
        """
        self._idle_polls = self._idle_polls + 1 if is_idle else 0
        tables = cast(TableManager, self.app.tables)
        if self._idle_polls < 2 or not tables.changelog_queue.empty():
            return
        recovery = tables.recovery
        for tp, highwater in list(recovery.active_highwaters.items()):
            read = recovery.active_offsets.get(tp)
            if read is not None and read < highwater:
                position = await self.position(tp)
                if position is not None and position > highwater:
                    recovery.active_offsets[tp] = highwater

    def _batch(self, tp: TP, records: Sequence[Any], size_bytes: int) -> Batch:
        before = self._delivered.get(tp, -1)
        self._delivered[tp] = records[-1].offset
        counted_bytes = size_bytes if self._is_queued(tp) else 0
        self._backlog.size_bytes += counted_bytes
        return Batch(
            topic=tp.topic,
            partition=tp.partition,
            records=records,
            before=before,
            generation=self.app.consumer_generation_id,
            size_bytes=counted_bytes,
            backlog=self._backlog,
        )

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, Batch):
            return super()._to_message(tp, record)
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.last,
            record.records[-1].timestamp / MS_PER_S,
            1,
            [],
            None,
            cast(bytes, record),
            None,
            0,
            0,
            tp,
            generation_id=record.generation,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: commits follow ``acknowledge``, not runs of single offsets."""

    # --- positions -------------------------------------------------------------------------------

    async def perform_seek(self) -> None:
        """Seek every source partition to where our own state stands."""
        self._seeks += 1
        self._backlog = Backlog(self.delivery.queued_bytes_max)
        try:
            await super().perform_seek()
            for tp in [tp for tp in self.assignment() if tp.topic in self.delivery.batched]:
                await self._place(tp)
        finally:
            self._seeks += 1

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek, and remember where: what a poll brings from elsewhere meanwhile is read again."""
        self._seeks += 1
        self._delivered.update({tp: offset - 1 for tp, offset in partitions.items()})
        try:
            await super().seek_wait(partitions)
        finally:
            self._seeks += 1

    async def _place(self, tp: TP) -> None:
        if tp.topic in self.delivery.from_latest:
            ends = await self.highwaters(tp)
            await self._read_from(tp, ends[tp])
        else:
            await self._read_from(tp, self.delivery.resume_at(tp.partition))

    async def _rewind(self, tp: TP) -> None:
        """Read on from what was delivered; where nothing is placed yet, that comes by itself."""
        through = self._delivered.get(tp)
        if through is not None:
            with suppress(IllegalStateError):  # it is not ours any more
                await self._read_from(tp, through + 1)

    async def _read_from(self, tp: TP, offset: int) -> None:
        await self.seek_wait({tp: offset})
        self._read_offset[tp] = None

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was delivered and acknowledged; the next owner starts from the ledger."""
        self._assignments += 1
        self._backlog = Backlog(self.delivery.queued_bytes_max)
        self._delivered.clear()
        self._acknowledged.clear()
        await super().on_partitions_revoked(revoked)

    # --- commits ---------------------------------------------------------------------------------

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return iter(list(self._acknowledged))

    def _new_offset(self, tp: TP) -> int | None:
        through = self._acknowledged.get(tp)
        return None if through is None else through + 1


class Transport(faust_driver.Transport):
    """Faust's Kafka transport with our consumer."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer
    delivery: Delivery

    def __init__(self, url: Any, app: AppT, *, delivery: Delivery) -> None:
        super().__init__(url, app)
        self.delivery = delivery
