"""Usage events: what a gateway says was consumed, as CloudEvents 1.0 on the topic ``usage``.

One event is an *increment*: the tokens produced between ``start_us`` and ``end_us``.  A short
request sends one, a long one sends partial events on the way and a final one.  Both Kafka modes
of the CloudEvents binding are read: structured (the value is the whole event, content type
``application/cloudevents+json``) and binary (attributes in ``ce_`` headers, the value is ``data``).
A *frame* is many structured events in one record: a JSON array, or one event per line (content type
``application/x-ndjson``, what our own client sends).  Integers only; times are microseconds since
1970 UTC.  An event's *body* is its own bytes inside the record.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from schemas.errors import MalformedEventError
from schemas.specs import ServiceClass
from schemas.units import AMOUNT_MAX, US_PER_S, TokenCounts
from schemas.wire import decode

USAGE_TYPE: Final = "tokenpools.usage.v1"
SPEC_VERSION: Final = "1.0"
STRUCTURED: Final = b"application/cloudevents+json"
BATCH: Final = b"application/cloudevents-batch+json"
NDJSON: Final = b"application/x-ndjson"
"""The content type of a frame that has one structured event per line."""
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

PLAIN_HEADER: Final = (CONTENT_TYPE_HEADER, STRUCTURED)
"""The one header of a record that holds one structured event."""

Headers = Sequence[tuple[str, bytes]]

Amount = Annotated[int, Meta(ge=0, le=TOKENS_PER_EVENT_MAX)]
Instant = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)]
Attribute = Annotated[str, Meta(max_length=ATTRIBUTE_CHARS_MAX)]


class UsageData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The ``data`` of a usage event."""

    pool: str
    entitlement: str
    tenant: str = ""
    model: str = ""
    reservation_id: str = ""
    served_class: ServiceClass | None = None
    """The class it was served in; unnamed: the entitlement's own."""
    demoted: bool = False
    input_tokens: Amount = 0
    """Uncached input only."""
    cache_read_tokens: Amount = 0
    cache_write_tokens: Amount = 0
    output_tokens: Amount = 0
    reasoning_tokens: Amount = 0
    """An "of which" of ``output_tokens``; in no sum."""
    start_us: Instant = 0
    end_us: Instant = 0
    """The production of this increment: ``[start_us, end_us)``; ``end_us`` is the event time."""
    requested_us: Instant = 0
    first_token_us: Instant | None = None
    final: bool = True
    outcome: str = "ok"
    """``ok``, ``aborted``, ``error``, ``evicted``, ``expired``; ``running`` while partial."""
    attributes: Annotated[dict[Attribute, Attribute], Meta(max_length=ATTRIBUTES_MAX)] = {}
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


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The CloudEvents envelope with usage data (structured mode, JSON)."""

    specversion: Literal["1.0"] = SPEC_VERSION
    id: Name
    source: Name
    type: Literal["tokenpools.usage.v1"] = USAGE_TYPE
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

decode_plain = msgspec.json.Decoder(CloudEvent).decode
"""Decode one structured event without ``checked``; raises what msgspec raises.

The fold's fast path: every other reader calls ``decode_record``.
"""


def decode_record(value: bytes | None, headers: Headers) -> list[Decoded]:
    """Return one entry per event of a Kafka record, in frame order, malformed ones included.

    A record that cannot be split is one malformed entry, so index 0 names it.
    """
    return [decoded for _, decoded in decode_parts(value, headers)]


def decode_parts(value: bytes | None, headers: Headers) -> list[tuple[bytes, Decoded]]:
    """Return the bytes of each event beside what they say; the rest as ``decode_record``."""
    try:
        if value is None:
            raise MalformedEventError("tombstone", "a usage event needs a value")
        if headers and any(name == "ce_specversion" for name, _ in headers):
            return [(value, _binary(value, dict(headers)))]
        parts = split_frame(value, headers)
    except MalformedEventError as error:
        return [(value or b"", error)]
    return [(part, _structured(part)) for part in parts]


def split_frame(value: bytes, headers: Headers) -> list[bytes]:
    """Return the bytes of every structured event in a record: of one, or of a frame.

    Raises ``MalformedEventError`` for an empty record, an array that is none, and for more than
    ``EVENTS_PER_RECORD_MAX`` events.
    """
    if not value:
        raise MalformedEventError("empty", "a usage event needs a value")
    if value[:1] == b"[":
        parts = [bytes(part) for part in decode(value, list[msgspec.Raw])]
    elif (CONTENT_TYPE_HEADER, NDJSON) in headers:
        parts = [line for line in value.split(b"\n") if line]
    else:
        return [value]
    if not 1 <= len(parts) <= EVENTS_PER_RECORD_MAX:
        raise MalformedEventError("frame", f"1 to {EVENTS_PER_RECORD_MAX} events in a record")
    return parts


def _structured(value: bytes) -> Decoded:
    try:
        return checked(decode(value, CloudEvent))
    except MalformedEventError as error:
        return error


def _binary(value: bytes, headers: dict[str, bytes]) -> Decoded:
    def text(name: str) -> str:
        try:
            return headers[f"ce_{name}"].decode()
        except KeyError:
            raise MalformedEventError("malformed", f"header ce_{name} is missing") from None
        except UnicodeDecodeError:
            raise MalformedEventError("malformed", f"header ce_{name} is no UTF-8") from None

    attributes = {
        "specversion": text("specversion"),
        "id": text("id"),
        "source": text("source"),
        "type": text("type"),
        "sequence": text("sequence") if "ce_sequence" in headers else None,
        "data": decode(value or b"", UsageData),
    }
    try:
        return checked(msgspec.convert(attributes, CloudEvent))
    except msgspec.ValidationError as error:
        raise MalformedEventError("malformed", f"in the headers: {error}") from error


def checked(event: CloudEvent) -> UsageEvent:
    """Return the event; raise ``MalformedEventError`` when its fields contradict each other."""
    check_data(event.data)
    return UsageEvent(
        source=event.source, id=event.id, sequence=_sequence(event.sequence), data=event.data
    )


def check_data(data: UsageData) -> None:
    """Raise ``MalformedEventError`` when an amount or a time contradicts another."""
    if data.reasoning_tokens > data.output_tokens:
        raise MalformedEventError("amount", "reasoning_tokens is a part of output_tokens")
    if not data.end_us > 0 or data.start_us > data.end_us:
        raise MalformedEventError("time", "needs 0 <= start_us <= end_us and end_us > 0")


def is_number(text: str) -> bool:
    """Say whether a ``sequence`` is a decimal integer below 10^18."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def _sequence(text: str | None) -> int | None:
    if text is None:
        return None
    if not is_number(text):
        raise MalformedEventError("malformed", "sequence must be a decimal integer below 10^18")
    return int(text)


def encode_structured(event: UsageEvent) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return value and headers of the event in structured mode."""
    return msgspec.json.encode(envelope(event)), [PLAIN_HEADER]


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
