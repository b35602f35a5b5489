"""What a log holds: every event's key, read with JSON alone, apart from the code under test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.faults.account import TAG_HEADER
from tests.faults.mill import key_of
from tests.faults.oracle import Stored


def events_of(
    partition: int, value: bytes | None, headers: Sequence[tuple[str, bytes]]
) -> Iterator[Stored]:
    """Yield every event of a record; a tagged record is one event whatever it holds."""
    named = dict(headers)
    if TAG_HEADER in named:
        yield Stored(partition, named[TAG_HEADER].decode())
    elif "ce_id" in named:
        yield Stored(partition, key_of(named["ce_source"].decode(), named["ce_id"].decode()))
    else:
        for event in _parsed(value or b""):
            yield Stored(partition, key_of(event["source"], event["id"]))


def _parsed(value: bytes) -> list[dict[str, str]]:
    if value.startswith(b"["):
        return list(json.loads(value))
    return [json.loads(line) for line in value.split(b"\n") if line]
