"""The emitter: everything is delivered or reported, and only so much is pending."""

import asyncio
from dataclasses import dataclass, field, replace

from admission.gateways.emitter import Emitter
from schemas.usage import UsageEvent
from tests.component.gateways.samples import FAST, usage
from tests.component.gateways.transports import MemoryTransport, StoredRecord, check_transport

CHAT, OTHER = usage("chat", sequence=0).data, usage("other", sequence=0).data


@dataclass
class Listener:
    """Remembers what became of events."""

    done: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def delivered(self, event: UsageEvent) -> None:
        self.done.append(event.id)

    def undelivered(self, event: UsageEvent, error: Exception) -> None:
        self.failed.append((event.id, str(error)))


async def test_the_memory_transport_keeps_the_contract() -> None:
    transport = MemoryTransport()

    async def stored() -> list[StoredRecord]:
        return transport.records

    await check_transport(transport, stored)


async def test_events_are_numbered_per_pool() -> None:
    transport, listener = MemoryTransport(), Listener()
    emitter = Emitter(transport, source="s", limits=FAST, listener=listener)
    await emitter.start()

    for data in (CHAT, OTHER, CHAT):
        await emitter.place()
        emitter.submit(data)
    await emitter.stop()

    assert [(event.data.pool, event.sequence) for event in transport.events] == [
        ("chat", 1),
        ("other", 1),
        ("chat", 2),
    ]
    assert listener.done == ["chat/1", "other/1", "chat/2"]
    assert (emitter.delivered, emitter.undelivered, emitter.pending) == (3, 0, 0)


async def test_a_failed_attempt_is_repeated_with_the_same_identity() -> None:
    transport = MemoryTransport()
    emitter = Emitter(transport, source="s", limits=FAST)
    transport.failures = 3
    await emitter.start()

    await emitter.place()
    event = emitter.submit(CHAT)
    await emitter.stop()

    assert transport.events == [event]


async def test_an_event_that_cannot_be_delivered_is_reported() -> None:
    transport, listener = MemoryTransport(), Listener()
    limits = replace(FAST, delivery_ms_max=10)
    emitter = Emitter(transport, source="s", limits=limits, listener=listener)
    transport.failures = 1_000_000
    await emitter.start()

    await emitter.place()
    emitter.submit(CHAT)
    await emitter.stop()

    assert listener.failed == [("chat/1", "told to fail")]
    assert (emitter.delivered, emitter.undelivered) == (0, 1)


async def test_what_is_not_acknowledged_when_it_closes_is_reported() -> None:
    transport, listener = MemoryTransport(), Listener()
    limits = replace(FAST, close_ms_max=1)
    emitter = Emitter(transport, source="s", limits=limits, listener=listener)
    transport.open.clear()
    await emitter.start()

    await emitter.place()
    emitter.submit(CHAT)
    await emitter.stop()

    assert listener.failed == [("chat/1", "not acknowledged before the client was closed")]


async def test_no_more_events_are_pending_than_allowed() -> None:
    transport = MemoryTransport()
    emitter = Emitter(transport, source="s", limits=replace(FAST, pending_events_max=1))
    transport.open.clear()
    await emitter.start()
    await emitter.place()
    emitter.submit(CHAT)

    waiting = asyncio.create_task(emitter.place())
    await asyncio.wait([waiting], timeout=0.02)
    was_waiting = not waiting.done()
    transport.open.set()
    await waiting
    emitter.give_back()
    await emitter.stop()

    assert was_waiting
    assert emitter.delivered == 1
