"""Usage in blocks is the usage in columns, whatever its records' sizes and shapes are."""

from __future__ import annotations

import pytest

from schemas.usage import UsageEvent
from streams.history import usage_blocks
from streams.history.batch import NativeBlocks
from streams.history.usage_blocks import USAGE_TABLE, USAGE_TYPES, UsageBlocks
from streams.history.usage_columns import UsageColumns
from streams.history.usage_rows import UsageRow
from tests.integration.history.native import rows_in
from tests.integration.history.records import Stored, event, usage_frame, usage_record

ROWS = 4


def written(number: int) -> Stored:
    return usage_record(number, event(number))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_blocks, "BLOCK_ROWS", ROWS)


def rows_of(blocks: UsageBlocks) -> list[UsageRow]:
    encoded = NativeBlocks(USAGE_TABLE, UsageRow._fields, blocks.blocks())
    return [UsageRow(*row) for row in rows_in(encoded)]


def named(blocks: UsageBlocks) -> list[tuple[int, int, str]]:
    return [(row.record_offset, row.record_index, row.id) for row in rows_of(blocks)]


def test_the_types_are_those_of_a_row_in_its_order() -> None:
    assert tuple(USAGE_TYPES) == UsageRow._fields


@pytest.mark.parametrize("poll_records", [1, ROWS - 1, ROWS, 3 * ROWS + 1])
def test_every_row_is_in_one_block_whatever_a_poll_holds(poll_records: int) -> None:
    records = [written(number) for number in range(3 * ROWS + 2)]
    blocks = UsageBlocks(1)

    for start in range(0, len(records), poll_records):
        assert blocks.add(0, records[start : start + poll_records]) == 0

    assert len(blocks) == len(records)
    assert named(blocks) == [(number, 0, event(number).id) for number in range(len(records))]


def test_frames_and_what_cannot_be_read_stand_between_plain_records() -> None:
    frame: list[UsageEvent] = [event(number) for number in (10, 11, 12)]
    records = [written(0), usage_frame(1, frame), Stored(2, b"{"), written(3)]
    blocks = UsageBlocks(1)

    assert blocks.add(0, records) == 1

    assert named(blocks) == [
        (0, 0, event(0).id),
        *[(1, index, each.id) for index, each in enumerate(frame)],
        (3, 0, event(3).id),
    ]


def test_asking_twice_encodes_nothing_twice() -> None:
    blocks = UsageBlocks(1)
    blocks.add(0, [written(0)])

    assert blocks.blocks() == blocks.blocks()
    assert len(blocks.blocks()) == 1


def test_values_survive_the_encoding() -> None:
    records = [written(number) for number in range(3)]
    columns, blocks = UsageColumns(1), UsageBlocks(1)
    columns.add(2, records)
    blocks.add(2, records)

    rows = rows_of(blocks)

    for row, expected in zip(rows, zip(*columns.columns(), strict=True), strict=True):
        for name, value, given in zip(USAGE_TYPES, row, expected, strict=True):
            if "DateTime64" not in USAGE_TYPES[name]:
                assert value == given, name
