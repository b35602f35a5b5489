"""The emitter: everything is delivered or reported, and only so much is pending."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from admission.gateways.emitter import Emitter
from admission.gateways.limits import GatewayLimits
from schemas.usage import UsageData, UsageEvent
from tests.component.gateways.samples import FAST, usage
from tests.component.gateways.transports import MemoryTransport, StoredRecord, check_transport

CHAT, OTHER = usage("chat", sequence=0).data, usage("other", sequence=0).data
SINGLY = replace(FAST, linger_ms=0)
LINGERING = replace(FAST, linger_ms=60_000, delivery_ms_max=60_000)
"""A linger that no test can wait for."""
DEADLINE_S = 10


@dataclass
class Listener:
    """Remembers what became of events."""

    done: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def delivered(self, event: UsageEvent) -> None:
        self.done.append(event.id)

    def undelivered(self, event: UsageEvent, error: Exception) -> None:
        self.failed.append((event.id, str(error)))


@dataclass
class BrokenListener(Listener):
    """Fails at the event named."""

    at: str = "chat/1"

    def delivered(self, event: UsageEvent) -> None:
        super().delivered(event)
        if event.id == self.at:
            raise ValueError("the listener broke")


@asynccontextmanager
async def emitter_of(
    transport: MemoryTransport, limits: GatewayLimits, *, listener: Listener | None = None
) -> AsyncIterator[Emitter]:
    """An emitter that has been closed when the block is over."""
    emitter = Emitter(transport, source="s", limits=limits, listener=listener)
    async with asyncio.timeout(DEADLINE_S):
        await emitter.start()
        yield emitter
        await emitter.stop()


async def submit(emitter: Emitter, *datas: UsageData) -> list[UsageEvent]:
    events = []
    for data in datas:
        await emitter.place()
        events.append(emitter.submit(data))
    return events


def numbers(transport: MemoryTransport) -> list[int | None]:
    return [event.sequence for event in transport.events]


async def test_the_memory_transport_keeps_the_contract() -> None:
    transport = MemoryTransport()

    async def stored() -> list[StoredRecord]:
        return transport.records

    await check_transport(transport, stored)


@pytest.mark.parametrize("limits", [FAST, SINGLY], ids=["in frames", "singly"])
async def test_events_are_numbered_per_pool_and_leave_in_that_order(limits: GatewayLimits) -> None:
    transport, listener = MemoryTransport(), Listener()
    async with emitter_of(transport, limits, listener=listener) as emitter:
        await submit(emitter, CHAT, OTHER, CHAT)

    by_pool = sorted(transport.events, key=lambda event: event.data.pool)
    assert [event.id for event in by_pool] == ["chat/1", "chat/2", "other/1"]
    assert sorted(listener.done) == ["chat/1", "chat/2", "other/1"]
    assert (emitter.delivered, emitter.undelivered, emitter.pending) == (3, 0, 0)


@pytest.mark.parametrize("limits", [FAST, SINGLY], ids=["in frames", "singly"])
async def test_a_failed_attempt_is_repeated_with_the_same_identity(limits: GatewayLimits) -> None:
    transport = MemoryTransport()
    transport.failures = 3
    async with emitter_of(transport, limits) as emitter:
        events = await submit(emitter, CHAT)

    assert transport.events == events


async def test_a_record_whose_fate_is_unknown_is_repeated_byte_by_byte_before_later_ones() -> None:
    transport, listener = MemoryTransport(), Listener()
    transport.unacknowledged = 2
    limits = replace(LINGERING, frame_events_max=2)
    async with emitter_of(transport, limits, listener=listener) as emitter:
        await submit(emitter, *[CHAT] * 6)

    assert numbers(transport) == [1, 2, 1, 2, 1, 2, 3, 4, 5, 6]
    assert transport.records[0] == transport.records[1] == transport.records[2]
    assert listener.done == [f"chat/{number}" for number in range(1, 7)]


async def test_what_comes_while_a_record_is_on_its_way_gathers_behind_it() -> None:
    transport = MemoryTransport()
    transport.open.clear()
    async with emitter_of(transport, SINGLY) as emitter:
        await submit(emitter, *[CHAT] * 5)
        transport.failures = 1
        transport.open.set()

    assert numbers(transport) == [1, 2, 3, 4, 5]
    assert len(transport.records) == 5


@pytest.mark.parametrize("limits", [FAST, SINGLY], ids=["in frames", "singly"])
async def test_events_that_cannot_be_delivered_are_reported_one_by_one(
    limits: GatewayLimits,
) -> None:
    transport, listener = MemoryTransport(), Listener()
    transport.failures = 1_000_000
    brief = replace(limits, delivery_ms_max=250)
    async with emitter_of(transport, brief, listener=listener) as emitter:
        await submit(emitter, CHAT, CHAT)

    assert [name for name, _ in listener.failed] == ["chat/1", "chat/2"]
    assert listener.failed[0][1] == "told to fail"
    assert (emitter.delivered, emitter.undelivered, emitter.pending) == (0, 2, 0)


async def test_an_event_that_cannot_be_written_is_reported_and_others_go_on() -> None:
    transport, listener = MemoryTransport(), Listener()
    unwritable = msgspec.structs.replace(CHAT, tenant="\ud800")
    async with emitter_of(transport, FAST, listener=listener) as emitter:
        await submit(emitter, unwritable, CHAT)

    assert [name for name, _ in listener.failed] == ["chat/1"]
    assert (numbers(transport), emitter.pending) == ([2], 0)


async def test_closing_sends_what_still_lingers() -> None:
    transport = MemoryTransport()
    async with emitter_of(transport, LINGERING) as emitter:
        await submit(emitter, CHAT, OTHER, CHAT)
        lingering = list(transport.records)

    assert lingering == []
    assert (len(transport.records), emitter.delivered) == (2, 3)


async def test_what_is_not_acknowledged_when_it_closes_is_reported_sent_or_not() -> None:
    transport, listener = MemoryTransport(), Listener()
    transport.open.clear()
    limits = replace(LINGERING, close_ms_max=1, frame_events_max=2)
    async with emitter_of(transport, limits, listener=listener) as emitter:
        await submit(emitter, *[CHAT] * 5)

    why = "not acknowledged before the client was closed"
    assert listener.failed == [(f"chat/{number}", why) for number in range(1, 6)]
    assert (emitter.undelivered, emitter.pending, transport.records) == (5, 0, [])


async def test_what_is_submitted_while_it_closes_does_not_linger() -> None:
    transport = MemoryTransport()
    transport.open.clear()
    async with emitter_of(transport, LINGERING) as emitter:
        await submit(emitter, CHAT)
        closing = asyncio.create_task(emitter.stop())
        await transport.asked.wait()
        await submit(emitter, OTHER, CHAT)
        transport.open.set()
        await closing

    assert sorted(event.id for event in transport.events) == ["chat/1", "chat/2", "other/1"]


async def test_what_is_submitted_after_it_closed_is_reported() -> None:
    transport, listener = MemoryTransport(), Listener()
    async with emitter_of(transport, FAST, listener=listener) as emitter:
        pass
    await submit(emitter, CHAT)

    assert listener.failed == [("chat/1", "submitted after the client was closed")]
    assert (transport.records, emitter.pending) == ([], 0)


async def test_no_more_events_are_pending_than_allowed_however_they_travel() -> None:
    transport = MemoryTransport()
    transport.open.clear()
    limits = replace(FAST, pending_events_max=3)
    async with emitter_of(transport, limits) as emitter:
        await submit(emitter, *[CHAT] * 3)
        waiting = asyncio.create_task(emitter.place())
        await asyncio.wait([waiting], timeout=0.02)
        was_waiting = not waiting.done()
        transport.open.set()
        await waiting
        emitter.give_back()

    assert was_waiting
    assert emitter.delivered == 3


async def test_a_listener_that_fails_at_one_event_hears_of_the_others() -> None:
    transport, listener, errors = MemoryTransport(), BrokenListener(), list[object]()
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: errors.append(context.get("exception"))
    )
    limits = replace(LINGERING, frame_events_max=2)
    async with emitter_of(transport, limits, listener=listener) as emitter:
        await submit(emitter, *[CHAT] * 4)

    assert listener.done == ["chat/1", "chat/2", "chat/3", "chat/4"]
    assert [str(error) for error in errors] == ["the listener broke"]
    assert (emitter.delivered, emitter.pending) == (4, 0)
