"""Usage events: what a gateway says was consumed, as CloudEvents 1.0 on the topic ``usage``.

One event is an *increment*: the tokens produced between ``start_us`` and ``end_us``.  A short
request sends one, a long one sends partial events on the way and a final one.  Both Kafka modes
of the CloudEvents binding are read: structured (the value is the whole event, content type
``application/cloudevents+json``, or a batch of them in one record) and binary (attributes in
``ce_`` headers, the value is ``data``).  Integers only; times are microseconds since 1970 UTC.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.errors import MalformedEventError
from schemas.specs import ServiceClass
from schemas.units import AMOUNT_MAX, US_PER_S, TokenCounts
from schemas.wire import decode

USAGE_TYPE: Final = "tokenpools.usage.v1"
SPEC_VERSION: Final = "1.0"
STRUCTURED: Final = b"application/cloudevents+json"
BATCH: Final = b"application/cloudevents-batch+json"
CONTENT_TYPE_HEADER: Final = "content-type"
FORWARDED_HEADER: Final = "tokenpools-forwarded"
"""Set on a misplaced event that was re-produced into its own partition; value: its position."""
REPLAYED_HEADER: Final = "tokenpools-replayed"
"""Set on a dead letter that an operator replays; value: the position that it replays."""

ID_CHARS_MAX: Final = 256
ATTRIBUTES_MAX: Final = 16
ATTRIBUTE_CHARS_MAX: Final = 256
TOKENS_PER_EVENT_MAX: Final = 1_000_000_000
EVENTS_PER_RECORD_MAX: Final = 4_096

Headers = Sequence[tuple[str, bytes]]


class UsageData(msgspec.Struct, frozen=True, kw_only=True):
    """The ``data`` of a usage event."""

    pool: str
    entitlement: str
    tenant: str = ""
    model: str = ""
    reservation_id: str = ""
    served_class: ServiceClass | None = None
    """The class it was served in; unnamed: the entitlement's own."""
    demoted: bool = False
    input_tokens: int = 0
    """Uncached input only."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """An "of which" of ``output_tokens``; in no sum."""
    start_us: int = 0
    end_us: int = 0
    """The production of this increment: ``[start_us, end_us)``; ``end_us`` is the event time."""
    requested_us: int = 0
    first_token_us: int | None = None
    final: bool = True
    outcome: str = "ok"
    """``ok``, ``aborted``, ``error``, ``evicted``, ``expired``; ``running`` while partial."""
    attributes: dict[str, str] = {}
    """Bounded: application, user, region, ..."""

    @property
    def counts(self) -> TokenCounts:
        """The tokens by class."""
        return TokenCounts(
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.output_tokens,
            self.reasoning_tokens,
        )


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The CloudEvents envelope with usage data (structured mode, JSON)."""

    specversion: str = SPEC_VERSION
    id: str
    source: str
    type: str = USAGE_TYPE
    time: str | None = None
    """RFC 3339; the end of the increment.  ``data.end_us`` is what counts."""
    subject: str | None = None
    datacontenttype: str | None = "application/json"
    partitionkey: str | None = None
    sequence: str | None = None
    """The increment's number per (source, pool), a decimal integer as text (the extension)."""
    data: UsageData


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded event: identity and data, whatever mode it came in."""

    source: str
    id: str
    sequence: int | None
    data: UsageData

    @property
    def event_us(self) -> int:
        """When it happened: the end of its production."""
        return self.data.end_us


Decoded = UsageEvent | MalformedEventError


def decode_record(value: bytes | None, headers: Headers) -> list[Decoded]:
    """Return one entry per event of a Kafka record, in frame order, malformed ones included.

    A record that cannot be split is one malformed entry, so index 0 names it.
    """
    try:
        return _split(value, headers)
    except MalformedEventError as error:
        return [error]


def _split(value: bytes | None, headers: Headers) -> list[Decoded]:
    if value is None:
        raise MalformedEventError("tombstone", "a usage event needs a value")
    if not value:
        raise MalformedEventError("empty", "a usage event needs a value")
    named = dict(headers)
    if "ce_specversion" in named:
        return [_binary(value, named)]
    if value[:1] == b"[":
        return _batch(value)
    return [_structured(value)]


def _batch(value: bytes) -> list[Decoded]:
    frames = decode(value, list[msgspec.Raw])
    if not 1 <= len(frames) <= EVENTS_PER_RECORD_MAX:
        raise MalformedEventError("frame", f"1 to {EVENTS_PER_RECORD_MAX} events in a record")
    events: list[Decoded] = []
    for frame in frames:
        try:
            events.append(_structured(bytes(frame)))
        except MalformedEventError as error:
            events.append(error)
    return events


def _structured(value: bytes) -> UsageEvent:
    event = decode(value, CloudEvent)
    return _checked(event, sequence=event.sequence)


def _binary(value: bytes, headers: dict[str, bytes]) -> UsageEvent:
    def text(name: str) -> str:
        try:
            return headers[f"ce_{name}"].decode()
        except KeyError:
            raise MalformedEventError("malformed", f"header ce_{name} is missing") from None
        except UnicodeDecodeError:
            raise MalformedEventError("malformed", f"header ce_{name} is no UTF-8") from None

    event = CloudEvent(
        specversion=text("specversion"),
        id=text("id"),
        source=text("source"),
        type=text("type"),
        sequence=text("sequence") if "ce_sequence" in headers else None,
        data=decode(value, UsageData),
    )
    return _checked(event, sequence=event.sequence)


def _checked(event: CloudEvent, *, sequence: str | None) -> UsageEvent:
    if event.specversion != SPEC_VERSION:
        raise MalformedEventError("specversion", f"specversion {event.specversion!r} is not 1.0")
    if event.type != USAGE_TYPE:
        raise MalformedEventError("type", f"type {event.type!r} is not {USAGE_TYPE}")
    for name, text in (("id", event.id), ("source", event.source)):
        if not 1 <= len(text) <= ID_CHARS_MAX:
            raise MalformedEventError(
                "malformed", f"{name} must have 1 to {ID_CHARS_MAX} characters"
            )
    check_data(event.data)
    return UsageEvent(
        source=event.source, id=event.id, sequence=_sequence(sequence), data=event.data
    )


def _sequence(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise MalformedEventError("malformed", "sequence must be a decimal integer below 10^18")
    return int(text)


def check_data(data: UsageData) -> None:
    """Raise ``MalformedEventError`` when an amount or a time cannot be true."""
    counts = data.counts
    amounts = (
        counts.input_tokens,
        counts.cache_read_tokens,
        counts.cache_write_tokens,
        counts.output_tokens,
        counts.reasoning_tokens,
    )
    if min(amounts) < 0 or max(amounts) > TOKENS_PER_EVENT_MAX:
        raise MalformedEventError("amount", f"tokens must be 0 to {TOKENS_PER_EVENT_MAX}")
    if counts.reasoning_tokens > counts.output_tokens:
        raise MalformedEventError("amount", "reasoning_tokens is a part of output_tokens")
    if not 0 < data.end_us <= AMOUNT_MAX or not 0 <= data.start_us <= data.end_us:
        raise MalformedEventError("time", "needs 0 <= start_us <= end_us and end_us > 0")
    _check_attributes(data)


def _check_attributes(data: UsageData) -> None:
    if len(data.attributes) > ATTRIBUTES_MAX:
        raise MalformedEventError("attributes", f"at most {ATTRIBUTES_MAX} attributes")
    for key, value in data.attributes.items():
        if len(key) > ATTRIBUTE_CHARS_MAX or len(value) > ATTRIBUTE_CHARS_MAX:
            raise MalformedEventError(
                "attributes", f"keys and values have at most {ATTRIBUTE_CHARS_MAX} characters"
            )


def encode_structured(event: UsageEvent) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return value and headers of the event in structured mode."""
    return msgspec.json.encode(envelope(event)), [(CONTENT_TYPE_HEADER, STRUCTURED)]


def encode_binary(event: UsageEvent) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return value and headers of the event in binary mode."""
    headers = [
        (CONTENT_TYPE_HEADER, b"application/json"),
        ("ce_specversion", SPEC_VERSION.encode()),
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", USAGE_TYPE.encode()),
        ("ce_time", rfc3339(event.event_us).encode()),
        ("ce_partitionkey", event.data.pool.encode()),
    ]
    if event.sequence is not None:
        headers.append(("ce_sequence", str(event.sequence).encode()))
    return msgspec.json.encode(event.data), headers


def envelope(event: UsageEvent) -> CloudEvent:
    """Return the CloudEvents envelope of an event."""
    return CloudEvent(
        id=event.id,
        source=event.source,
        time=rfc3339(event.event_us),
        subject=event.data.entitlement,
        partitionkey=event.data.pool,
        sequence=None if event.sequence is None else str(event.sequence),
        data=event.data,
    )


def rfc3339(at_us: int) -> str:
    """Return the instant as RFC 3339 in UTC with microseconds."""
    moment = datetime.datetime.fromtimestamp(at_us // US_PER_S, datetime.UTC)
    return moment.replace(microsecond=at_us % US_PER_S).isoformat().replace("+00:00", "Z")
