"""Usage as columns: the rows of ``usage_raw``, held by column from the record to the insert.

Usage is nearly all that history writes, so its rows are never made one by one: a batch keeps the
decoded events beside their positions, and ``columns`` reads each field out of them at once, in the
order of ``UsageRow``.  The same record always gives the same row, so reading it again is harmless.
Times are microseconds since 1970 UTC (``stored_at``: milliseconds, the broker's).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from schemas.errors import MalformedEventError
from schemas.usage import (
    FORWARDED_HEADER,
    PLAIN_HEADER,
    REPLAYED_HEADER,
    CloudEvent,
    Headers,
    UsageData,
    UsageEvent,
    check_data,
    decode_plain,
    decode_record,
    is_number,
)
from streams.history.usage_rows import AT_US_MAX

Column = Sequence[Any]


class KafkaRecord(Protocol):
    """What history needs of a consumer's record."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class UsageColumns:
    """Events of one log epoch at their positions, in the order in which they were read."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._partitions: list[int] = []
        self._offsets: list[int] = []
        self._indexes: list[int] = []
        self._stored_ms: list[int] = []
        self._named: list[CloudEvent | UsageEvent] = []
        self._marks: dict[int, tuple[str, str]] = {}
        """Where a forwarded or replayed event came from, by row."""

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, partition: int, records: Sequence[KafkaRecord]) -> int:
        """Take the records of one partition; return how many events could not be read."""
        events = _all_plain(records)
        if events is None:
            return self._add_each(partition, records)
        self._named += events
        self._offsets += [record.offset for record in records]
        self._stored_ms += [record.timestamp for record in records]
        self._indexes += [0] * len(events)
        self._partitions += [partition] * len(events)
        return 0

    def columns(self) -> list[Column]:
        """Return the columns in the order of ``UsageRow``."""
        marks = [self._marks.get(row, ("", "")) for row in range(len(self))] if self._marks else []
        return [
            [self._epoch] * len(self),
            self._partitions,
            self._offsets,
            self._indexes,
            self._stored_ms,
            *_event_columns(self._named, [event.data for event in self._named]),
            [forwarded for forwarded, _ in marks] or [""] * len(self),
            [replays for _, replays in marks] or [""] * len(self),
        ]

    def _add_each(self, partition: int, records: Sequence[KafkaRecord]) -> int:
        """Take records of which some are not plain, or not readable."""
        begun = len(self)
        malformed = sum(map(self._add_any, records))
        self._partitions += [partition] * (len(self) - begun)
        return malformed

    def _add_any(self, record: KafkaRecord) -> int:
        """Take a record of any shape, frames included; return its events that are malformed."""
        marks = _marks_of(record.headers)
        malformed = 0
        for index, event in enumerate(decode_record(record.value, record.headers)):
            if not isinstance(event, UsageEvent):
                malformed += 1
                continue
            if marks is not None:
                self._marks[len(self)] = marks
            self._named.append(event)
            self._offsets.append(record.offset)
            self._stored_ms.append(record.timestamp)
            self._indexes.append(index)
        return malformed


def _all_plain(records: Sequence[KafkaRecord]) -> list[CloudEvent] | None:
    """Return the one structured event of each record; None: some need a closer look."""
    for record in records:
        if (headers := record.headers) and (len(headers) > 1 or headers[0] != PLAIN_HEADER):
            return None
    try:
        events = [decode_plain(record.value) for record in records if record.value]
        for event in events:
            check_data(event.data)
            if event.sequence is not None and not is_number(event.sequence):
                return None
    except (msgspec.MsgspecError, UnicodeDecodeError, MalformedEventError):
        return None
    return events if len(events) == len(records) else None


def _marks_of(headers: Headers) -> tuple[str, str] | None:
    named = dict(headers)
    if FORWARDED_HEADER not in named and REPLAYED_HEADER not in named:
        return None
    forwarded, replays = named.get(FORWARDED_HEADER, b""), named.get(REPLAYED_HEADER, b"")
    return forwarded.decode("utf-8", "replace"), replays.decode("utf-8", "replace")


def _event_columns(
    named: Sequence[CloudEvent | UsageEvent], data: Sequence[UsageData]
) -> list[Column]:
    """Return the columns from ``event_at`` to ``attributes``."""
    by_field = zip(*map(msgspec.structs.astuple, data), strict=True)
    held: dict[str, Column] = dict(zip(UsageData.__struct_fields__, by_field, strict=True))
    return [
        _within(held["end_us"]),
        [each.source for each in named],
        [each.id for each in named],
        [None if each.sequence is None else int(each.sequence) for each in named],
        held["pool"],
        held["entitlement"],
        held["tenant"],
        held["model"],
        held["reservation_id"],
        [each or "" for each in held["served_class"]],
        held["demoted"],
        held["input_tokens"],
        held["cache_read_tokens"],
        held["cache_write_tokens"],
        held["output_tokens"],
        held["reasoning_tokens"],
        _within(held["start_us"]),
        _within(held["requested_us"]),
        _within_or_none(held["first_token_us"]),
        held["final"],
        held["outcome"],
        held["attributes"],
    ]


def _within(instants_us: Sequence[int]) -> Sequence[int]:
    """Return instants that their column can hold; an event's are never negative."""
    if not instants_us or max(instants_us) <= AT_US_MAX:
        return instants_us
    return [min(each, AT_US_MAX) for each in instants_us]


def _within_or_none(instants_us: Sequence[int | None]) -> Sequence[int | None]:
    if max((each for each in instants_us if each is not None), default=0) <= AT_US_MAX:
        return instants_us
    return [None if each is None else min(each, AT_US_MAX) for each in instants_us]
