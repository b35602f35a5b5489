"""A transport in memory, and the contract that it and Kafka's both keep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from admission.gateways.lane import Transport
from schemas.errors import UnavailableError
from schemas.usage import Headers, UsageEvent, decode_record, encode_structured
from tests.component.gateways.samples import usage

StoredRecord = tuple[bytes, bytes, Headers]


class MemoryTransport:
    """Keeps records in a list; ``failures`` makes the next sends fail, ``open`` holds them back.

    ``unacknowledged`` makes the next sends fail although their record is stored.
    """

    def __init__(self) -> None:
        self.records: list[StoredRecord] = []
        self.failures = 0
        self.unacknowledged = 0
        self.asked = asyncio.Event()
        """Set when the first record arrives, stored or not."""
        self.open = asyncio.Event()
        self.open.set()
        self._connected = False
        self._stored = asyncio.Condition()

    async def start(self) -> None:
        self._connected = True

    async def stop(self) -> None:
        self._connected = False

    async def send(self, *, key: bytes, value: bytes, headers: Headers) -> None:
        self.asked.set()
        await self.open.wait()
        if self.failures:
            self.failures -= 1
            raise UnavailableError("told to fail")
        assert self._connected, "start() comes first"
        async with self._stored:
            self.records.append((key, value, headers))
            self._stored.notify_all()
        if self.unacknowledged:
            self.unacknowledged -= 1
            raise UnavailableError("told to say nothing")

    async def until_stored(self, count: int) -> None:
        """Return when so many records are stored."""
        async with self._stored:
            await self._stored.wait_for(lambda: len(self.records) >= count)

    @property
    def events(self) -> list[UsageEvent]:
        """The decoded events in the order in which they were stored."""
        return [event for record in self.records for event in events_of(*record[1:])]


def events_of(value: bytes, headers: Headers) -> list[UsageEvent]:
    """Return the events of a record, a frame or a plain one, that must be well formed."""
    events = decode_record(value, headers)
    assert all(isinstance(event, UsageEvent) for event in events)
    return [event for event in events if isinstance(event, UsageEvent)]


async def check_transport(
    transport: Transport, stored: Callable[[], Awaitable[list[StoredRecord]]]
) -> None:
    """What is sent is stored once, unchanged, under its key, in order."""
    events = [usage("chat", sequence=1), usage("other", sequence=1), usage("chat", sequence=2)]
    await transport.start()
    try:
        for event in events:
            value, headers = encode_structured(event)
            await transport.send(key=event.data.pool.encode(), value=value, headers=headers)
        records = await stored()
    finally:
        await transport.stop()

    assert sorted(key for key, _, _ in records) == [b"chat", b"chat", b"other"]
    chat = [
        event
        for key, value, headers in records
        if key == b"chat"
        for event in events_of(value, headers)
    ]
    assert chat == [events[0], events[2]]
