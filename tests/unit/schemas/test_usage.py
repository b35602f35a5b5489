"""Which records are usage events, and what is wrong with the others?"""

from __future__ import annotations

import msgspec
import pytest

from schemas.errors import MalformedEventError
from schemas.units import TokenCounts
from schemas.usage import (
    CONTENT_TYPE_HEADER,
    NDJSON,
    UsageData,
    UsageEvent,
    decode_parts,
    decode_record,
    encode_binary,
    encode_structured,
    envelope,
    rfc3339,
)
from tests.contract.schemas.samples import EVENT


def reason_of(decoded: object) -> str:
    assert isinstance(decoded, MalformedEventError)
    return decoded.reason


def structured(**changes: object) -> bytes:
    """Return the sample event in structured mode with some attributes changed."""
    event = msgspec.to_builtins(envelope(EVENT))
    data_changes = changes.pop("data", {})
    assert isinstance(data_changes, dict)
    event["data"] |= data_changes
    return msgspec.json.encode(event | changes)


@pytest.mark.parametrize("encode", [encode_structured, encode_binary])
def test_both_kafka_modes_of_cloudevents_carry_the_same_event(encode: object) -> None:
    assert callable(encode)

    value, headers = encode(EVENT)

    assert decode_record(value, headers) == [EVENT]


def test_a_batch_in_one_record_is_one_event_per_element_in_order() -> None:
    first, _ = encode_structured(EVENT)
    second, _ = encode_structured(msgspec.structs.replace(EVENT, id="run-18", sequence=18))

    events = decode_record(b"[" + first + b"," + second + b"]", [])

    assert [event.id for event in events if isinstance(event, UsageEvent)] == ["run-17", "run-18"]


def test_a_frame_of_lines_is_one_event_per_line_in_order() -> None:
    first, _ = encode_structured(EVENT)
    second, _ = encode_structured(msgspec.structs.replace(EVENT, id="run-18", sequence=18))
    frame = first + b"\n" + b"not json\n" + second + b"\n"

    one, bad, two = decode_parts(frame, [(CONTENT_TYPE_HEADER, NDJSON)])

    assert [part for part, _ in (one, bad, two)] == [first, b"not json", second]
    assert one[1] == EVENT
    assert reason_of(bad[1]) == "malformed"


def test_one_bad_element_of_a_batch_leaves_the_others_whole() -> None:
    good, _ = encode_structured(EVENT)

    bad, event = decode_record(b'[{"id": 1},' + good + b"]", [])

    assert reason_of(bad) == "malformed"
    assert event == EVENT


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "tombstone", id="a tombstone"),
        pytest.param(b"", "empty", id="an empty value"),
        pytest.param(b"not json", "malformed", id="no JSON"),
        pytest.param(b"[]", "frame", id="a batch of nothing"),
        pytest.param(structured(specversion="0.3"), "malformed", id="another specversion"),
        pytest.param(structured(type="other.v1"), "malformed", id="another type of event"),
        pytest.param(structured(id=""), "malformed", id="an empty id"),
        pytest.param(structured(source="s" * 257), "malformed", id="a source that is too long"),
        pytest.param(structured(sequence="-1"), "malformed", id="a negative sequence"),
        pytest.param(structured(data={"output_tokens": -1}), "malformed", id="negative tokens"),
        pytest.param(structured(data={"output_tokens": 1 << 40}), "malformed", id="absurd tokens"),
        pytest.param(
            structured(data={"reasoning_tokens": 65}), "amount", id="more reasoning than output"
        ),
        pytest.param(structured(data={"output_tokens": 1.5}), "malformed", id="half a token"),
        pytest.param(structured(data={"end_us": 0}), "time", id="no time"),
        pytest.param(
            structured(data={"attributes": {str(n): "x" for n in range(17)}}),
            "malformed",
            id="too many attributes",
        ),
    ],
)
def test_what_is_no_usage_event_says_why(value: bytes | None, reason: str) -> None:
    (decoded,) = decode_record(value, [])

    assert reason_of(decoded) == reason


def test_a_binary_event_without_its_id_is_malformed() -> None:
    value, headers = encode_binary(EVENT)
    without_id = [(name, text) for name, text in headers if name != "ce_id"]

    (decoded,) = decode_record(value, without_id)

    assert "ce_id" in str(decoded)


def test_token_classes_never_overlap_and_reasoning_is_in_no_sum() -> None:
    counts = TokenCounts(1, 10, 100, 1_000, 999)

    assert counts.total == 1_111


def test_times_are_written_in_utc_with_microseconds() -> None:
    assert rfc3339(1_700_000_000_123_456) == "2023-11-14T22:13:20.123456Z"


def test_usage_data_counts_what_it_names() -> None:
    data = UsageData(pool="p", entitlement="e", input_tokens=3, output_tokens=4)

    assert data.counts == TokenCounts(3, 0, 0, 4, 0)
