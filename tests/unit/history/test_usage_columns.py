"""Usage columns hold every event at its position, whatever shape its record had."""

from __future__ import annotations

import msgspec
import pytest

from schemas.specs import ServiceClass
from schemas.usage import (
    CONTENT_TYPE_HEADER,
    FORWARDED_HEADER,
    NDJSON,
    REPLAYED_HEADER,
    Headers,
    UsageData,
    UsageEvent,
    encode_binary,
    encode_structured,
)
from streams.history.usage_columns import UsageColumns
from streams.history.usage_rows import AT_US_MAX, UsageRow
from tests.integration.history.records import Stored, usage_frame


def usage(number: int, **data: object) -> UsageEvent:
    fields = {"pool": "chat", "entitlement": "gold", "end_us": 5, **data}
    return UsageEvent(
        source="s", id=str(number), sequence=None, data=msgspec.convert(fields, UsageData)
    )


def rows(*records: Stored) -> list[UsageRow]:
    """The rows of records of partition 2 in epoch 1."""
    columns = UsageColumns(1)
    columns.add(2, records)
    return [UsageRow(*row) for row in zip(*columns.columns(), strict=True)]


def structured(event: UsageEvent, *headers: tuple[str, bytes]) -> Stored:
    value, own = encode_structured(event)
    return Stored(7, value, headers=(*own, *headers))


def binary(event: UsageEvent) -> Stored:
    value, headers = encode_binary(event)
    return Stored(7, value, headers=headers)


def lines(event: UsageEvent) -> Stored:
    value, _ = encode_structured(event)
    return Stored(7, value + b"\n", headers=((CONTENT_TYPE_HEADER, NDJSON),))


def plain(old: bytes, new: bytes) -> bytes:
    """A structured event in which some bytes are others."""
    value, _ = encode_structured(usage(0))
    assert old in value
    return value.replace(old, new)


SHAPES = [
    pytest.param(structured, id="structured"),
    pytest.param(binary, id="binary"),
    pytest.param(lambda event: usage_frame(7, [event]), id="an array"),
    pytest.param(lines, id="lines"),
    pytest.param(lambda event: Stored(7, encode_structured(event)[0]), id="without headers"),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_value_stands_in_the_column_that_is_named_after_it(shape) -> None:  # type: ignore[no-untyped-def]  # a parameter
    event = UsageEvent(
        source="gateway",
        id="event",
        sequence=1,
        data=UsageData(
            pool="chat",
            entitlement="gold",
            tenant="acme",
            model="llama",
            reservation_id="r",
            served_class=ServiceClass.SPOT,
            demoted=True,
            input_tokens=2,
            cache_read_tokens=3,
            cache_write_tokens=4,
            output_tokens=6,
            reasoning_tokens=5,
            start_us=7,
            end_us=8,
            requested_us=9,
            first_token_us=10,
            final=False,
            outcome="running",
            attributes={"region": "eu"},
        ),
    )

    (row,) = rows(shape(event))

    assert row._asdict() == {
        "epoch": 1,
        "partition": 2,
        "record_offset": 7,
        "record_index": 0,
        "stored_at": 1_790_000_000_000,
        "event_at": 8,
        "source": "gateway",
        "id": "event",
        "sequence": 1,
        "pool": "chat",
        "entitlement": "gold",
        "tenant": "acme",
        "model": "llama",
        "reservation_id": "r",
        "served_class": "spot",
        "demoted": True,
        "input_tokens": 2,
        "cache_read_tokens": 3,
        "cache_write_tokens": 4,
        "output_tokens": 6,
        "reasoning_tokens": 5,
        "started_at": 7,
        "requested_at": 9,
        "first_token_at": 10,
        "final": False,
        "outcome": "running",
        "attributes": {"region": "eu"},
        "forwarded_from": "",
        "replays": "",
    }


def test_a_malformed_event_leaves_its_index_empty_and_the_rest_keep_theirs() -> None:
    frame = usage_frame(3, [usage(0), usage(1), usage(2)])
    broken = (frame.value or b"").replace(b'"id":"1"', b'"id":1')

    assert [row[:4] for row in rows(Stored(3, broken))] == [(1, 2, 3, 0), (1, 2, 3, 2)]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="a tombstone"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(encode_structured(usage(0, start_us=6))[0], id="ends before it starts"),
        pytest.param(plain(b'"sequence":null', b'"sequence":"x"'), id="a number that is none"),
        pytest.param(plain(b'"s"', b'"\\ud800"'), id="half of a surrogate pair"),
    ],
)
def test_what_streams_cannot_read_is_counted_and_gives_no_row(value: bytes | None) -> None:
    columns = UsageColumns(1)

    malformed = columns.add(0, [Stored(0, value)])

    assert (malformed, len(columns)) == (1, 0)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param([(FORWARDED_HEADER, b"1/2/3/0")], ("1/2/3/0", ""), id="forwarded"),
        pytest.param([(REPLAYED_HEADER, b"\xff"), ("x", b"y")], ("", "\ufffd"), id="replayed"),
        pytest.param([("other", b"x")], ("", ""), id="neither"),
    ],
)
def test_a_forwarded_or_replayed_event_says_from_where(
    headers: Headers, expected: tuple[str, str]
) -> None:
    found = rows(structured(usage(0)), structured(usage(1), *headers), structured(usage(2)))

    assert [(row.forwarded_from, row.replays) for row in found] == [("", ""), expected, ("", "")]


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        pytest.param(7, 7, id="an instant"),
        pytest.param(AT_US_MAX + 1, AT_US_MAX, id="beyond the last instant of a column"),
    ],
)
def test_an_instant_is_cut_to_what_its_column_holds(instant: int, expected: int) -> None:
    event = usage(0, requested_us=instant, first_token_us=instant, start_us=instant, end_us=instant)

    row, other = rows(structured(event), structured(usage(1)))

    assert (row.requested_at, row.first_token_at, row.started_at, row.event_at) == (expected,) * 4
    assert (other.requested_at, other.first_token_at, other.event_at) == (0, None, 5)
