"""Lane: the way of one pool's events to the broker, in the order of their numbers.

Events that are submitted within a linger leave together, as one record.  The next ones leave when
those have landed, so that a repetition never comes after what was numbered behind it; until then
they gather, and a slow broker makes larger frames instead of more of them.  Without a linger each
event is a record of its own; those that gathered leave side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from admission.gateways.frames import Line, Waiting, record_of
from admission.gateways.limits import GatewayLimits
from schemas.errors import RecoverableError, UnavailableError
from schemas.units import MS_PER_S
from schemas.usage import Headers


class Transport(Protocol):
    """A way to the topic ``usage``: Kafka, or memory in tests."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect; what was not acknowledged is given up."""

    async def send(self, *, key: bytes, value: bytes, headers: Headers) -> None:
        """Return when the record is stored; raise ``RecoverableError`` when that is not known."""


class Landing(Protocol):
    """Who is told what became of events: stored, or given up with an error."""

    def __call__(self, lines: Sequence[Line], error: Exception | None) -> None: ...


class Lane:
    """Used in one event loop; ``landed`` is called once for every event that was added."""

    def __init__(
        self, pool: str, transport: Transport, limits: GatewayLimits, *, landed: Landing
    ) -> None:
        self._key = pool.encode()
        self._transport = transport
        self._limits = limits
        self._report = landed
        self._waiting = Waiting(
            events_max=limits.frame_events_max, bytes_max=limits.frame_bytes_max
        )
        self._linger_s = limits.linger_ms / MS_PER_S
        self._timer: asyncio.TimerHandle | None = None
        self._flying: dict[asyncio.Task[None], Sequence[Line]] = {}

    @property
    def flying(self) -> list[asyncio.Task[None]]:
        """Records on their way."""
        return list(self._flying)

    def add(self, line: Line) -> None:
        """Take the event; it leaves within the linger unless others are on their way."""
        self._waiting.add(line)
        self._go_on()

    def hurry(self) -> None:
        """Let nothing linger from now on."""
        self._linger_s = 0.0
        self._go_on()

    async def give_up(self) -> None:
        """Report all that has not landed as undelivered."""
        unsent = self._waiting.take_all()
        flying = self.flying
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        if unsent:
            self._report(unsent, _unacknowledged())

    def _go_on(self) -> None:
        """Let the next events leave when nothing is on its way and they need not linger."""
        if self._flying or not self._waiting:
            return
        wait_s = self._waiting.oldest_s + self._linger_s - _now_s()
        if wait_s <= 0 or self._waiting.is_full:
            self._leave()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._lingered)

    def _lingered(self) -> None:
        self._timer = None
        self._go_on()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines = self._waiting.take()
        for together in [lines] if self._limits.linger_ms else [[line] for line in lines]:
            task = asyncio.create_task(self._deliver(together), name=f"usage {lines[0].event.id}")
            self._flying[task] = together
            task.add_done_callback(self._has_landed)

    def _has_landed(self, task: asyncio.Task[None]) -> None:
        lines = self._flying.pop(task)
        try:
            self._report(lines, _error_of(task))
        finally:
            self._go_on()

    async def _deliver(self, lines: Sequence[Line]) -> None:
        """Send the same bytes until they are acknowledged; in the end the last error is raised.

        The youngest event is tried for ``delivery_ms_max``, the others a little longer.
        """
        value, headers = record_of(lines)
        until_s = lines[-1].submitted_s + self._limits.delivery_ms_max / MS_PER_S
        pause_s = self._limits.retry_ms_min / MS_PER_S
        if _now_s() > until_s:
            raise UnavailableError("the events before it could not be stored for too long")
        while True:
            try:
                await self._transport.send(key=self._key, value=value, headers=headers)
            except RecoverableError:
                if _now_s() + pause_s > until_s:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._limits.retry_ms_max / MS_PER_S)
            else:
                return


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _error_of(task: asyncio.Task[None]) -> Exception | None:
    if task.cancelled():
        return _unacknowledged()
    error = task.exception()
    if error is None or isinstance(error, Exception):
        return error
    raise error


def _unacknowledged() -> TimeoutError:
    return TimeoutError("not acknowledged before the client was closed")
