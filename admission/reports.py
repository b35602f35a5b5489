"""Reports out: what this admitter holds goes to ``admitter-reports``, what it did to ``decisions``.

One report per pool and tick.  Reports are soft state: while one is still on its way (a broker that
does not answer) the next tick sends none, and what is sent later says everything again.  Decisions
wait in the journal's bounded queue, so a broker that is away costs decisions, never requests.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from admission.admitter import Admitter
from admission.core.pool import PoolDesk
from admission.core.reporting import reports_of
from admission.kafka import BACKOFF_S_MAX, BACKOFF_S_MIN, REQUEST_MS_MAX, client_kwargs, unreachable
from schemas.connections import KafkaOptions
from schemas.partitioning import partition_of
from schemas.topics import ADMITTER_REPORTS, DECISIONS, LARGE_PLAIN_BYTES_MAX
from schemas.units import MS_PER_S, US_PER_MS
from schemas.wire import encode

DECISIONS_PER_BATCH: Final = 1_000
IDLE_TICK_MS: Final = 200
"""How often to look for pools while there is none."""
LAST_WORD_S: Final = 2.0
"""How long the report of leaving may take."""


class Reporter:
    """Sends the reports and the decisions of one admitter."""

    def __init__(self, options: KafkaOptions, admitter: Admitter) -> None:
        self._options = options
        self._admitter = admitter
        self._producer: AIOKafkaProducer | None = None
        self._on_their_way: dict[str, asyncio.Future[Any]] = {}
        self._due_us: dict[str, int] = {}
        self._stalled = False

    async def run(self) -> None:
        """Report every tick, for ever; a broker that is away is named and waited for."""
        await self._connect()
        await asyncio.gather(self._report_for_ever(), self._write_decisions())

    async def leave(self) -> None:
        """Send the last reports; they say that this incarnation is leaving."""
        self._admitter.gate.leaving = True
        if self._producer is None:
            return
        for future in self._on_their_way.values():
            future.cancel()
        self._on_their_way.clear()
        for desk in self._admitter.gate.desks.values():
            await self._report(desk)
        if self._on_their_way:
            await asyncio.wait(self._on_their_way.values(), timeout=LAST_WORD_S)

    async def close(self) -> None:
        """Write the decisions that are left, within a bound, and close the connection."""
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(LAST_WORD_S):
                while len(self._admitter.gate.journal):
                    await self._write_batch(self._producer)
                await self._producer.stop()
        except (TimeoutError, KafkaError) as error:
            left = len(self._admitter.gate.journal)
            self._admitter.log("closed_unsent", decisions=left, error=repr(error))

    async def _connect(self) -> None:
        backoff_s = BACKOFF_S_MIN
        while self._producer is None:
            producer = AIOKafkaProducer(
                acks="all",
                request_timeout_ms=REQUEST_MS_MAX,
                compression_type="gzip",
                max_request_size=LARGE_PLAIN_BYTES_MAX,
                **client_kwargs(self._options),
            )
            try:
                await producer.start()
                self._producer = producer
            except (KafkaError, OSError) as error:
                await producer.stop()
                self._admitter.log("broker_away", error=unreachable(self._options, error))
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    async def _report_for_ever(self) -> None:
        while True:
            clock, gate = self._admitter.clock, self._admitter.gate
            gate.expire(clock())
            for desk in list(gate.desks.values()):
                if self._due_us.get(desk.spec.name, 0) <= clock().mono_us:
                    gate.journal.close_tick(desk.spec.name, at_us=clock().wall_us)
                    await self._report(desk)
                    self._set_next(desk, clock().mono_us)
            await asyncio.sleep(self._wait_s(clock().mono_us))

    def _set_next(self, desk: PoolDesk, now_us: int) -> None:
        """Keep the beat; after a pause begin a new one instead of catching up."""
        tick_us = desk.spec.policy.tick_ms * US_PER_MS
        due_us = self._due_us.get(desk.spec.name, now_us) + tick_us
        self._due_us[desk.spec.name] = due_us if due_us > now_us else now_us + tick_us

    def _wait_s(self, now_us: int) -> float:
        names = self._admitter.gate.desks
        due = [self._due_us.get(name, now_us) - now_us for name in names]
        wait_ms = min([max(0, us) // US_PER_MS + 1 for us in due], default=IDLE_TICK_MS)
        return min(wait_ms, IDLE_TICK_MS) / MS_PER_S

    async def _report(self, desk: PoolDesk) -> None:
        """Send one pool's reports, unless the last one is still on its way."""
        name, admitter = desk.spec.name, self._admitter
        before = self._on_their_way.get(name)
        if self._producer is None or (before is not None and not before.done()):
            return
        self._note_outcome(before)
        desk.refresh(admitter.clock().mono_us)
        reports = reports_of(
            desk,
            admitter.gate.reservations,
            url=admitter.gate.url,
            leaving=admitter.gate.leaving,
            now_us=admitter.clock().mono_us,
        )
        for report in reports:
            try:
                self._on_their_way[name] = await self._send(
                    self._producer, ADMITTER_REPORTS, name, encode(report)
                )
            except KafkaError as error:
                self._say_stalled(error)

    def _note_outcome(self, sent: asyncio.Future[Any] | None) -> None:
        if sent is None or sent.cancelled():
            return
        error = sent.exception()
        if error is not None:
            self._say_stalled(error)
        elif self._stalled:
            self._stalled = False
            self._admitter.log("reports_go_out_again")

    def _say_stalled(self, error: BaseException) -> None:
        if not self._stalled:
            self._stalled = True
            self._admitter.log("broker_away", error=unreachable(self._options, error))

    async def _write_decisions(self) -> None:
        assert self._producer is not None
        while True:
            if len(self._admitter.gate.journal):
                await self._write_batch(self._producer)
            else:
                await asyncio.sleep(IDLE_TICK_MS / MS_PER_S)

    async def _write_batch(self, producer: AIOKafkaProducer) -> None:
        """Write the oldest decisions; what the broker does not take is dropped and counted."""
        journal = self._admitter.gate.journal
        taken = journal.take(DECISIONS_PER_BATCH)
        sent = []
        try:
            for decision in taken:
                value = encode(decision)
                sent.append(await self._send(producer, DECISIONS, decision.pool, value))
            await asyncio.gather(*sent)
        except KafkaError as error:
            await asyncio.gather(*sent, return_exceptions=True)
            journal.dropped += len(taken)
            self._say_stalled(error)

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, pool: str, value: bytes
    ) -> asyncio.Future[Any]:
        """Hand one record over; the future says when the broker has it."""
        sent: asyncio.Future[Any] = await producer.send(
            self._options.topic(topic),
            value,
            key=pool.encode(),
            partition=partition_of(pool, self._options.partitions),
        )
        return sent
