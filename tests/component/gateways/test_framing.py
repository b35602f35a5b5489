"""Framing: which events share a record, and that their bytes do not change by it."""

from dataclasses import replace

import pytest

from admission.gateways.limits import BATCH_BYTES_MAX, GatewayLimits
from schemas.errors import SettingsError
from schemas.usage import CONTENT_TYPE_HEADER, NDJSON, STRUCTURED, encode_structured
from tests.component.gateways.samples import FAST
from tests.component.gateways.test_emitter import (
    CHAT,
    LINGERING,
    OTHER,
    SINGLY,
    emitter_of,
    submit,
)
from tests.component.gateways.transports import MemoryTransport, events_of

FRAME = [(CONTENT_TYPE_HEADER, NDJSON)]
PLAIN = [(CONTENT_TYPE_HEADER, STRUCTURED)]


def sizes(transport: MemoryTransport) -> list[int]:
    """The events of each record."""
    return [len(events_of(value, headers)) for _, value, headers in transport.records]


async def test_events_of_one_linger_share_a_record_under_their_pool_s_key() -> None:
    transport = MemoryTransport()
    async with emitter_of(transport, replace(FAST, linger_ms=100)) as emitter:
        events = await submit(emitter, CHAT, CHAT, CHAT)
        await transport.until_stored(1)

    (record,) = transport.records
    assert record == (b"chat", b"\n".join(encode_structured(event)[0] for event in events), FRAME)
    assert transport.events == events


async def test_an_event_alone_in_its_linger_is_a_plain_record() -> None:
    transport = MemoryTransport()
    async with emitter_of(transport, FAST) as emitter:
        (event,) = await submit(emitter, CHAT)
        await transport.until_stored(1)

    assert transport.records == [(b"chat", encode_structured(event)[0], PLAIN)]


async def test_without_a_linger_each_event_is_a_plain_record() -> None:
    transport = MemoryTransport()
    async with emitter_of(transport, SINGLY) as emitter:
        events = await submit(emitter, CHAT, CHAT, CHAT)

    assert transport.records == [(b"chat", encode_structured(event)[0], PLAIN) for event in events]


async def test_pools_never_share_a_record() -> None:
    transport = MemoryTransport()
    async with emitter_of(transport, LINGERING) as emitter:
        await submit(emitter, CHAT, OTHER, CHAT, OTHER)

    assert sorted(key for key, _, _ in transport.records) == [b"chat", b"other"]
    for key, value, headers in transport.records:
        assert {event.data.pool.encode() for event in events_of(value, headers)} == {key}


async def test_a_full_frame_does_not_linger() -> None:
    transport = MemoryTransport()
    async with emitter_of(transport, replace(LINGERING, frame_events_max=3)) as emitter:
        await submit(emitter, *[CHAT] * 4)
        await transport.until_stored(1)
        left_behind = emitter.pending

    assert left_behind >= 1
    assert sizes(transport) == [3, 1]


async def test_a_frame_keeps_within_its_bytes() -> None:
    transport = MemoryTransport()
    async with emitter_of(transport, FAST) as emitter:
        (event,) = await submit(emitter, CHAT)
    bytes_max = 2 * (len(encode_structured(event)[0]) + 1)
    async with emitter_of(transport, replace(LINGERING, frame_bytes_max=bytes_max)) as emitter:
        await submit(emitter, *[CHAT] * 5)

    assert sizes(transport) == [1, 2, 2, 1]
    assert max(len(value) for _, value, _ in transport.records) <= bytes_max


async def test_an_event_larger_than_a_frame_travels_alone() -> None:
    transport = MemoryTransport()
    async with emitter_of(transport, replace(LINGERING, frame_bytes_max=1)) as emitter:
        await submit(emitter, CHAT, CHAT)

    assert [headers for _, _, headers in transport.records] == [PLAIN, PLAIN]


async def test_a_slow_broker_makes_larger_frames() -> None:
    transport = MemoryTransport()
    transport.open.clear()
    async with emitter_of(transport, replace(FAST, frame_events_max=64)) as emitter:
        await submit(emitter, CHAT)
        await transport.asked.wait()
        await submit(emitter, *[CHAT] * 100)
        transport.open.set()

    assert sizes(transport) == [1, 64, 36]
    assert [event.sequence for event in transport.events] == list(range(1, 102))


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("frame_events_max", 0, "frame_events_max is 0, must be 1 to 4096"),
        ("frame_events_max", 4_097, "frame_events_max is 4097, must be 1 to 4096"),
        ("frame_bytes_max", BATCH_BYTES_MAX + 1, f"must be 1 to {BATCH_BYTES_MAX}"),
        ("linger_ms", -1, "linger_ms is -1, must be 0"),
        ("linger_ms", 120_001, "must be 0 to delivery_ms_max, 120000"),
    ],
)
def test_frames_that_nobody_would_read_are_refused(knob: str, value: int, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        GatewayLimits(**{knob: value})
