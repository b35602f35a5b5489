"""Emitter: every usage event delivered once or reported as undelivered; at most so many pending.

Events are numbered per pool; source and number make the id.  The source ends in a name of this
process's own, because numbers begin at 1 again with every process.  An attempt whose outcome is
unknown is repeated unchanged: the meter counts (source, id) once.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from admission.gateways.limits import GatewayLimits
from schemas.errors import RecoverableError
from schemas.units import MS_PER_S
from schemas.usage import Headers, UsageData, UsageEvent, encode_structured


class Transport(Protocol):
    """A way to the topic ``usage``: Kafka, or memory in tests."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect; what was not acknowledged is given up."""

    async def send(self, *, key: bytes, value: bytes, headers: Headers) -> None:
        """Return when the record is stored; raise ``RecoverableError`` when that is not known."""


class DeliveryListener(Protocol):
    """Who is told what became of each event."""

    def delivered(self, event: UsageEvent) -> None:
        """The broker has stored the event."""

    def undelivered(self, event: UsageEvent, error: Exception) -> None:
        """The event was given up; its tokens may be missing from the ledger."""


class Numbering:
    """Numbers events per pool from 1 in the order in which they are submitted."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._last: dict[str, int] = {}

    def number(self, data: UsageData) -> UsageEvent:
        """Return the event with its identity."""
        sequence = self._last.get(data.pool, 0) + 1
        self._last[data.pool] = sequence
        return UsageEvent(
            source=self._source, id=f"{data.pool}/{sequence}", sequence=sequence, data=data
        )


class Emitter:
    """Delivers events in the background within the limits."""

    def __init__(
        self,
        transport: Transport,
        *,
        source: str,
        limits: GatewayLimits,
        listener: DeliveryListener | None = None,
    ) -> None:
        self._transport = transport
        self._numbering = Numbering(source)
        self._limits = limits
        self._listener = listener
        self._places = asyncio.Semaphore(limits.pending_events_max)
        self._deliveries: dict[asyncio.Task[None], UsageEvent] = {}
        self.delivered = 0
        self.undelivered = 0

    @property
    def pending(self) -> int:
        """Events that wait for their acknowledgement."""
        return len(self._deliveries)

    async def start(self) -> None:
        """Connect."""
        await self._transport.start()

    async def stop(self) -> None:
        """Wait for acknowledgements within the limit, give up the rest, disconnect."""
        if self._deliveries:
            timeout_s = self._limits.close_ms_max / MS_PER_S
            await asyncio.wait(self._deliveries, timeout=timeout_s)
        given_up = list(self._deliveries)
        for delivery in given_up:
            delivery.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        await self._transport.stop()

    async def place(self) -> None:
        """Wait for room for one event: ``submit`` or ``give_back`` follows."""
        await self._places.acquire()

    def give_back(self) -> None:
        """Free a place that was not used."""
        self._places.release()

    def submit(self, data: UsageData) -> UsageEvent:
        """Number the event and begin to deliver it; ``place`` came before."""
        event = self._numbering.number(data)
        delivery = asyncio.create_task(self._deliver(event), name=f"usage {event.id}")
        self._deliveries[delivery] = event
        delivery.add_done_callback(self._done)
        return event

    def _done(self, delivery: asyncio.Task[None]) -> None:
        event = self._deliveries.pop(delivery)
        self._places.release()
        error = _error_of(delivery)
        if error is None:
            self.delivered += 1
        else:
            self.undelivered += 1
        if self._listener is None:
            return
        if error is None:
            self._listener.delivered(event)
        else:
            self._listener.undelivered(event, error)

    async def _deliver(self, event: UsageEvent) -> None:
        """Send until it is acknowledged; after ``delivery_ms_max`` the last error is raised."""
        value, headers = encode_structured(event)
        key = event.data.pool.encode()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._limits.delivery_ms_max / MS_PER_S
        pause_ms = self._limits.retry_ms_min
        while True:
            try:
                await self._transport.send(key=key, value=value, headers=headers)
            except RecoverableError:
                if loop.time() + pause_ms / MS_PER_S > until_s:
                    raise
                await asyncio.sleep(pause_ms / MS_PER_S)
                pause_ms = min(2 * pause_ms, self._limits.retry_ms_max)
            else:
                return


def _error_of(delivery: asyncio.Task[None]) -> Exception | None:
    if delivery.cancelled():
        return TimeoutError("not acknowledged before the client was closed")
    error = delivery.exception()
    if error is None or isinstance(error, Exception):
        return error
    raise error
