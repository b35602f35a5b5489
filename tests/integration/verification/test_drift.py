"""The continuous check reads 0 while all is right, moves on, and names what is not right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final

import pytest
from clickhouse_connect.driver.client import Client

from schemas.connections import ClickHouseOptions
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.units import US_PER_MINUTE, TokenCounts
from schemas.wire import encode
from streams.history.client import connect
from streams.history.drift import Drift, DriftCheck
from streams.history.writer import Writer
from tests.integration.history.records import (
    STORED_MS,
    Stored,
    batch,
    event,
    judged_mark,
    refused,
    usage_record,
)

NO_DRIFT: Final = Drift()
MINUTE_MS: Final = US_PER_MINUTE // 1_000
FIRST_US: Final = STORED_MS * 1_000 // US_PER_MINUTE * US_PER_MINUTE
FOR_EVER_US: Final = 1 << 60


class Log:
    """A partition as the broker and streams fill it, and the check that looks at its rows.

    Event n stands at offset n, is stored n minutes after the first one, has 10 input tokens and
    1 output token, and is the only one of its minute.
    """

    def __init__(self, options: ClickHouseOptions, client: Client) -> None:
        self.client = client
        self.check = DriftCheck()
        self.published_us: dict[int, int] = {0: FOR_EVER_US}
        self._options = options

    def write(self, **records: Sequence[Stored]) -> None:
        """Write records as history does."""
        writer = Writer(self._options)
        writer.write(batch(**records))
        writer.close()

    def look(self) -> Drift:
        """One round."""
        return self.check.round(
            self.client, now_us=STORED_MS * 1_000, published_us=self.published_us
        )

    def delete(self, condition: str) -> None:
        """Lose rows, as no part of history ever does."""
        self.client.command(f"DELETE FROM usage_raw WHERE {condition}")


@pytest.fixture
def log(clickhouse: ClickHouseOptions) -> Iterator[Log]:
    with closing(connect(clickhouse)) as client:
        yield Log(clickhouse, client)


def stored(number: int) -> Stored:
    at_ms = STORED_MS + number * MINUTE_MS
    return replace(usage_record(number, event(number, end_us=at_ms * 1_000)), timestamp=at_ms)


def rollup(number: int, *, events: int = 1) -> Stored:
    published = Rollup(
        pool="chat",
        entitlement="gold",
        window_start_us=FIRST_US + number * US_PER_MINUTE,
        window_us=US_PER_MINUTE,
        tokens=TokenCounts(input_tokens=10 * events, output_tokens=events),
        events=events,
        version=Position(1, 0, number),
    )
    return Stored(number, encode(published))


def order(number: int, *, version: int) -> Stored:
    ordered = Rollup(
        pool="chat",
        entitlement="gold",
        window_start_us=FIRST_US + number * US_PER_MINUTE,
        window_us=US_PER_MINUTE,
        version=Position(1, 0, version),
        order=True,
    )
    return Stored(version, encode(ordered))


def numbers(count: int) -> range:
    return range(count)


def test_what_is_right_reads_0_and_moves_the_mark(log: Log) -> None:
    log.write(
        usage=[stored(number) for number in numbers(6)],
        rollups=[rollup(number) for number in numbers(6)],
        verdicts=[judged_mark(5, accepted=6)],
    )

    assert [log.look(), log.look()] == [NO_DRIFT, NO_DRIFT]
    mark = log.check.marks[0]
    assert (mark.offset, mark.accepted) == (5, 6)
    assert mark.minutes_us == (STORED_MS + 4 * MINUTE_MS) * 1_000, "the last minute is still young"


def test_a_new_process_goes_on_from_the_mark(log: Log) -> None:
    log.write(
        usage=[stored(0), stored(1)],
        rollups=[rollup(0), rollup(1)],
        verdicts=[judged_mark(1, accepted=2)],
    )
    log.look()
    before = log.check.marks
    log.delete("record_offset = 0")
    log.check = DriftCheck()

    assert (log.look(), log.check.marks) == (NO_DRIFT, before)


def test_events_that_were_not_accepted_are_not_counted(log: Log) -> None:
    log.write(
        usage=[stored(number) for number in numbers(4)],
        verdicts=[refused(1), refused(3), judged_mark(3, accepted=2, duplicate=2)],
        rollups=[rollup(0), rollup(2)],
    )

    assert [log.look(), log.look()] == [NO_DRIFT, NO_DRIFT]
    assert log.check.marks[0].offset == 3


def test_repeated_rows_count_once(log: Log) -> None:
    for _ in "ab":
        log.write(
            usage=[stored(number) for number in numbers(4)],
            rollups=[rollup(number) for number in numbers(4)],
            verdicts=[judged_mark(3, accepted=4)],
        )

    assert [log.look(), log.look()] == [NO_DRIFT, NO_DRIFT]


def test_judgement_that_overtakes_the_rows_is_waited_for(log: Log) -> None:
    log.write(usage=[stored(0)], verdicts=[judged_mark(2, accepted=3)])

    assert [log.look(), log.look()] == [NO_DRIFT, NO_DRIFT]
    assert log.check.marks[0].offset == -1


def test_a_lost_row_is_drift_from_the_second_round_until_it_is_back(log: Log) -> None:
    log.write(
        usage=[stored(number) for number in numbers(4)], verdicts=[judged_mark(3, accepted=4)]
    )
    log.delete("record_offset = 2")

    first, second = log.look(), log.look()

    assert first == NO_DRIFT
    assert (second.events_count, second.tokens_count) == (1, 0)
    assert "partition 0 offsets 0-3: accepted=4 rows=3 others=0 verdicts=0" in second.text()
    log.write(usage=[stored(2)], rollups=[rollup(number) for number in numbers(4)])
    assert log.look() == NO_DRIFT
    assert log.check.marks[0].offset == 3


def test_a_lost_verdict_is_drift_although_nothing_was_accepted_for_want_of_it(log: Log) -> None:
    log.write(
        usage=[stored(0), Stored(1, b"no event", timestamp=STORED_MS)],
        verdicts=[judged_mark(1, accepted=1, dead=1)],
    )
    log.look()

    assert "accepted=1 rows=1 others=1 verdicts=0" in log.look().text()


def test_a_minute_that_the_ledger_did_not_publish_is_drift_and_is_named(log: Log) -> None:
    log.write(
        usage=[stored(number) for number in numbers(4)],
        rollups=[rollup(0), rollup(2), rollup(3)],
        verdicts=[judged_mark(3, accepted=4)],
    )

    first, second = log.look(), log.look()

    assert first == NO_DRIFT
    assert (second.tokens_count, second.events_count) == (11, 1)
    assert f"pool='chat' entitlement='gold' minute_us={FIRST_US + US_PER_MINUTE}" in second.text()


def test_totals_that_were_not_read_yet_are_waited_for(log: Log) -> None:
    log.published_us = {0: (STORED_MS + 2 * MINUTE_MS) * 1_000}
    log.write(
        usage=[stored(number) for number in numbers(6)],
        rollups=[rollup(number) for number in numbers(2)],
        verdicts=[judged_mark(5, accepted=6)],
    )

    assert [log.look(), log.look()] == [NO_DRIFT, NO_DRIFT]
    assert log.check.marks[0].minutes_us == (STORED_MS + MINUTE_MS) * 1_000

    log.published_us = {0: FOR_EVER_US}
    log.look()
    assert {each.start_us for each in log.look().minutes} == {
        FIRST_US + number * US_PER_MINUTE for number in (2, 3, 4)
    }


def test_a_minute_with_other_totals_is_drift(log: Log) -> None:
    log.write(
        usage=[stored(number) for number in numbers(4)],
        rollups=[rollup(0), rollup(1, events=3), rollup(2), rollup(3)],
        verdicts=[judged_mark(3, accepted=4)],
    )
    log.look()

    assert (log.look().tokens_count, log.look().events_count) == (22, 2)


def test_a_minute_that_is_to_be_counted_again_is_left_out_until_then(log: Log) -> None:
    late = replace(stored(4), value=usage_record(4, event(4, end_us=FIRST_US)).value)
    log.write(
        usage=[*[stored(number) for number in numbers(4)], late, stored(6)],
        rollups=[*[rollup(number) for number in numbers(4)], rollup(6)],
        verdicts=[judged_mark(6, accepted=6)],
    )
    log.look()
    assert log.look().events_count == 1, "the late event is in no minute of the ledger"

    log.write(rollups=[order(0, version=4)])

    assert [log.look(), log.look()] == [NO_DRIFT, NO_DRIFT]


def test_a_new_epoch_goes_on_from_the_counts_of_the_one_before(log: Log) -> None:
    log.write(
        usage=[stored(0), stored(1)],
        rollups=[rollup(0), rollup(1)],
        verdicts=[judged_mark(1, accepted=2)],
    )
    log.look()
    log.client.command(
        "INSERT INTO judged_through SELECT * REPLACE (2 AS epoch, 0 AS record_offset, "
        "3 AS accepted_events) FROM judged_through"
    )
    log.client.command(
        "INSERT INTO read_through SELECT * REPLACE (2 AS epoch) FROM read_through FINAL"
    )
    log.client.command(
        "INSERT INTO usage_raw SELECT * REPLACE (2 AS epoch) FROM usage_raw WHERE record_offset = 0"
    )

    assert [log.look(), log.look()] == [NO_DRIFT, NO_DRIFT]
    assert (log.check.marks[0].epoch, log.check.marks[0].accepted) == (2, 3)
