"""Rows are idempotent by position, and the views count exactly what streams accepted."""

from __future__ import annotations

import pytest

from schemas.connections import ClickHouseOptions
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.units import US_PER_MINUTE, TokenCounts
from schemas.verdicts import VerdictKind
from schemas.wire import encode
from streams.history.batch import Batch
from streams.history.client import connect
from streams.history.queries import Counted, accepted_totals, judged, read_through, verdict_counts
from streams.history.writer import Writer
from tests.integration.history.records import (
    STORED_MS,
    Stored,
    batch,
    event,
    judged_mark,
    refused,
    usage_frame,
    usage_record,
)

GOLD = ("chat", "gold")


def write(options: ClickHouseOptions, *batches: Batch) -> None:
    writer = Writer(options)
    for each in batches:
        writer.write(each)
    writer.close()


def total(options: ClickHouseOptions) -> tuple[int, int]:
    """Tokens and events of the one entitlement."""
    counted = accepted_totals(options).get(GOLD, Counted(tokens=TokenCounts(), events=0))
    return counted.tokens.total, counted.events


def test_nothing_counts_before_it_is_judged(clickhouse: ClickHouseOptions) -> None:
    write(clickhouse, batch(usage=[usage_record(0, event(0))]))

    assert accepted_totals(clickhouse) == {}


def test_usage_counts_up_to_the_offset_that_is_judged(clickhouse: ClickHouseOptions) -> None:
    records = [usage_record(offset, event(offset)) for offset in range(5)]
    write(clickhouse, batch(usage=records, verdicts=[judged_mark(2, accepted=3)]))

    through = judged(clickhouse)[1, 0]

    assert total(clickhouse) == (33, 3)
    assert (through.judged_through, through.read_through, through.counted_through) == (2, 4, 2)
    assert read_through(clickhouse, topic="usage", epoch=1) == {0: 4}


def test_judgement_that_overtakes_the_rows_says_so(clickhouse: ClickHouseOptions) -> None:
    write(clickhouse, batch(verdicts=[judged_mark(7)]))

    assert judged(clickhouse)[1, 0].counted_through == -1


def test_inserting_a_batch_again_changes_no_sum(clickhouse: ClickHouseOptions) -> None:
    whole = batch(
        usage=[usage_record(offset, event(offset)) for offset in range(100)],
        verdicts=[judged_mark(99)],
    )
    write(clickhouse, whole, whole)

    assert total(clickhouse) == (1_100, 100)


def test_overlapping_batches_change_no_sum(clickhouse: ClickHouseOptions) -> None:
    records = [usage_record(offset, event(offset)) for offset in range(100)]
    write(
        clickhouse,
        batch(usage=records[:60]),
        batch(usage=records[40:], verdicts=[judged_mark(99)]),
        batch(usage=records[55:58]),
    )

    assert total(clickhouse) == (1_100, 100)


def test_an_older_mark_takes_nothing_back(clickhouse: ClickHouseOptions) -> None:
    records = [usage_record(offset, event(offset)) for offset in range(3)]
    write(clickhouse, batch(usage=records, verdicts=[judged_mark(2)]))
    write(clickhouse, batch(verdicts=[judged_mark(0)]))

    assert total(clickhouse) == (33, 3)


def test_events_of_one_frame_are_rows_of_their_own(clickhouse: ClickHouseOptions) -> None:
    frame = usage_frame(7, [event(0), event(1), event(2)])
    write(clickhouse, batch(usage=[frame, frame], verdicts=[refused(7, 1), judged_mark(7)]))

    assert total(clickhouse) == (22, 2)


@pytest.mark.parametrize("kind", [kind for kind in VerdictKind if kind != VerdictKind.ACCEPTED])
def test_what_was_not_accepted_does_not_count(
    clickhouse: ClickHouseOptions, kind: VerdictKind
) -> None:
    records = [usage_record(offset, event(offset)) for offset in range(3)]
    again = [refused(1, kind=kind), refused(1, kind=kind), judged_mark(2)]
    write(clickhouse, batch(usage=records, verdicts=again))

    assert total(clickhouse) == (22, 2)
    assert verdict_counts(clickhouse) == {(kind.value, ""): 1}


def test_a_dead_letter_keeps_its_bytes(clickhouse: ClickHouseOptions) -> None:
    dead = refused(3, kind=VerdictKind.DEAD)
    write(clickhouse, batch(usage=[Stored(3, b"no json")], verdicts=[dead, judged_mark(3)]))

    with connect(clickhouse) as client:
        rows = client.query(
            "SELECT record_offset, original, original_headers FROM dead_letters",
            query_formats={"String": "bytes"},
        ).result_rows

    assert list(rows) == [(3, b"\xff\x00 no text", [(b"h", b"\xfe")])]


def rollup(offset: int, *, events: int, order: bool = False) -> Stored:
    totals = Rollup(
        pool="chat",
        entitlement="gold",
        window_start_us=STORED_MS * 1_000 // US_PER_MINUTE * US_PER_MINUTE,
        window_us=US_PER_MINUTE,
        tokens=TokenCounts(input_tokens=10 * events, output_tokens=events),
        events=events,
        version=Position(1, 0, offset),
        order=order,
    )
    return Stored(offset, encode(totals))


def minute(options: ClickHouseOptions) -> list[tuple[int, int, int]]:
    with connect(options) as client:
        rows = client.query("SELECT input_tokens, events, record_offset FROM usage_by_minute")
        return [tuple(row) for row in rows.result_rows]


def test_the_rollup_with_the_highest_position_wins_in_any_order(
    clickhouse: ClickHouseOptions,
) -> None:
    write(clickhouse, batch(rollups=[rollup(9, events=3)]), batch(rollups=[rollup(4, events=1)]))

    assert minute(clickhouse) == [(30, 3, 9)]


def test_an_ordered_window_is_counted_again_once_judgement_has_passed_it(
    clickhouse: ClickHouseOptions,
) -> None:
    records = [usage_record(offset, event(offset)) for offset in range(6)]
    writer = Writer(clickhouse)
    writer.write(
        batch(usage=records, rollups=[rollup(1, events=2), rollup(4, events=0, order=True)])
    )

    before = minute(clickhouse)
    writer.write(batch(verdicts=[refused(2), judged_mark(5)]))
    writer.close()

    assert before == [(20, 2, 1)]
    assert minute(clickhouse) == [(40, 4, 4)]
