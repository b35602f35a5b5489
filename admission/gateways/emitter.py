"""Emitter: every usage event delivered once or reported as undelivered; at most so many pending.

Events are numbered per pool; source and number make the id.  The source ends in a name of this
process's own, because numbers begin at 1 again with every process.  An attempt whose outcome is
unknown is repeated unchanged: the meter counts (source, id) once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Protocol

from admission.gateways.frames import Line
from admission.gateways.lane import Lane, Transport
from admission.gateways.limits import GatewayLimits
from schemas.units import MS_PER_S
from schemas.usage import UsageData, UsageEvent, encode_structured


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
    """Delivers events in the background within the limits; keeps a lane for each pool it met."""

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
        self._lanes: dict[str, Lane] = {}
        self._is_closing = self._is_closed = False
        self.pending = 0
        """Events that wait for their acknowledgement."""
        self.delivered = 0
        self.undelivered = 0

    async def start(self) -> None:
        """Connect."""
        await self._transport.start()

    async def stop(self) -> None:
        """Wait for acknowledgements within the limit, give up the rest, disconnect."""
        self._is_closing = True
        for lane in self._lanes.values():
            lane.hurry()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.close_ms_max / MS_PER_S):
                await self._all_landed()
        self._is_closed = True
        for lane in self._lanes.values():
            await lane.give_up()
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
        self.pending += 1
        try:
            value, _ = encode_structured(event)
        except (ValueError, OverflowError) as error:  # text or a time that JSON cannot hold
            self._landed([Line(event, b"", 0.0)], error)
            return event
        line = Line(event, value, asyncio.get_running_loop().time())
        if self._is_closed:
            self._landed([line], TimeoutError("submitted after the client was closed"))
        else:
            self._lane(data.pool).add(line)
        return event

    def _lane(self, pool: str) -> Lane:
        lane = self._lanes.get(pool)
        if lane is None:
            lane = Lane(pool, self._transport, self._limits, landed=self._landed)
            self._lanes[pool] = lane
            if self._is_closing:
                lane.hurry()
        return lane

    async def _all_landed(self) -> None:
        while flying := [task for lane in self._lanes.values() for task in lane.flying]:
            await asyncio.wait(flying)

    def _landed(self, lines: Sequence[Line], error: Exception | None) -> None:
        """Count what became of these events and tell the listener, in order."""
        self.pending -= len(lines)
        if error is None:
            self.delivered += len(lines)
        else:
            self.undelivered += len(lines)
        with ExitStack() as told:  # one event's listener that raises leaves out no other event
            for line in reversed(lines):
                self._places.release()
                told.callback(self._tell, line.event, error)

    def _tell(self, event: UsageEvent, error: Exception | None) -> None:
        if self._listener is None:
            return
        if error is None:
            self._listener.delivered(event)
        else:
            self._listener.undelivered(event, error)
