"""A batch keeps what can be read, counts what cannot, and knows how far it reaches."""

from __future__ import annotations

import pytest

from schemas.positions import Position
from schemas.topics import DECISIONS, POOLS, ROLLUPS, SCALE_DECISIONS, TICKS, USAGE, VERDICTS
from schemas.verdicts import Verdict, VerdictKind
from schemas.wire import encode
from streams.history.batch import TOPICS_READ, Batch
from streams.history.tables import TABLES
from streams.history.usage_rows import ReadRow, VerdictRow
from tests.integration.history.native import rows_in
from tests.integration.history.records import (
    Stored,
    event,
    judged_mark,
    refused,
    usage_frame,
    usage_record,
)


def rows_of(batch: Batch, table: str) -> list[tuple[object, ...]]:
    """The rows of a table as they would be inserted."""
    return [row for block in batch.blocks() if block.table == table for row in rows_in(block)]


@pytest.mark.parametrize("topic", [VERDICTS, ROLLUPS, TICKS, DECISIONS, SCALE_DECISIONS, POOLS])
def test_a_record_that_cannot_be_read_is_counted_and_passed(topic: str) -> None:
    batch = Batch(epoch=1)

    batch.add(topic, 3, [Stored(7, b"{"), Stored(8, b"[]")])

    assert (batch.malformed, batch.rows_count) == ({topic: 2}, 0)
    assert batch.reaches == {(topic, 3): 8}


@pytest.mark.parametrize("topic", [topic for topic in TOPICS_READ if topic != USAGE])
def test_a_tombstone_is_no_row_and_no_fault(topic: str) -> None:
    batch = Batch(epoch=1)

    batch.add(topic, 0, [Stored(1, None)])

    assert (batch.malformed, batch.rows_count) == ({}, 0)


def test_malformed_usage_is_counted_by_event_and_gives_no_row() -> None:
    batch = Batch(epoch=1)
    frame = usage_frame(1, [event(0), event(1)])
    broken = (frame.value or b"")[:-1] + b",{}]"

    batch.add(USAGE, 0, [Stored(0, None), Stored(1, broken), usage_record(2, event(2))])

    assert batch.malformed == {USAGE: 2}
    assert [row[2:4] for row in rows_of(batch, "usage_raw")] == [(1, 0), (1, 1), (2, 0)]


def test_rows_are_named_by_the_epoch_that_the_batch_began_in() -> None:
    batch = Batch(epoch=5)

    batch.add(USAGE, 2, [usage_record(9, event(0))])

    assert rows_of(batch, "usage_raw")[0][:3] == (5, 2, 9)
    assert rows_of(batch, "read_through") == [ReadRow(USAGE, 5, 2, 9)]


def test_verdicts_are_written_before_the_mark_that_judges_past_them() -> None:
    batch = Batch(epoch=1)

    batch.add(VERDICTS, 0, [refused(1), judged_mark(4)])
    written = [block.table for block in batch.blocks()]

    assert written == ["verdicts", "judged_through", "read_through"]
    assert list(TABLES)[-1] == "read_through"


def test_an_empty_poll_reaches_nowhere() -> None:
    batch = Batch(epoch=1)

    batch.add(USAGE, 0, [])

    assert batch.reaches == {}


def test_bytes_are_counted_so_that_a_batch_can_be_bounded() -> None:
    batch = Batch(epoch=1)

    batch.add(USAGE, 0, [Stored(0, b"x" * 10), Stored(1, None)])

    assert batch.bytes_count == 10


def test_a_verdict_that_names_no_time_is_dated_by_its_own_record() -> None:
    verdict = Verdict(position=Position(1, 0, 5), verdict=VerdictKind.LATE)
    batch = Batch(epoch=1)

    batch.add(VERDICTS, 0, [Stored(0, encode(verdict), timestamp=1_700_000_000_123)])

    assert VerdictRow(*batch.rows["verdicts"][0]).stored_at == 1_700_000_000_123_000


def test_a_verdict_on_a_position_that_was_judged_past_is_void() -> None:
    batch = Batch(epoch=1)

    batch.add(VERDICTS, 0, [refused(3), judged_mark(5), refused(4), refused(6)])

    offsets = [row[2] for row in rows_of(batch, "verdicts")]
    assert (offsets, batch.void) == ([3, 6], 1)
