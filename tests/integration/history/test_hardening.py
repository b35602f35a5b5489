"""Whatever happens to batches on their way: every view says what streams judged, merged or not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.connections import ClickHouseOptions, clickhouse_options
from schemas.topics import ROLLUPS, USAGE, VERDICTS
from streams.history import usage_blocks
from streams.history.batch import Batch, NativeBlocks
from streams.history.client import connect
from streams.history.migrate import Retention
from streams.history.queries import judged, read_through, sliding_usage
from streams.history.tables import TABLES
from streams.history.writer import Writer
from tests.integration.engine_fixtures import Spares, lent
from tests.integration.history.logs import (
    LENGTHS_US,
    MONTH_END_US,
    Log,
    Tokens,
    WindowKey,
    cuts,
    made,
)
from tests.integration.history.records import EPOCH, PARTITION, refused
from tests.integration.history.records import batch as batch_of

SEED: Final = 6
VIEWS: Final = {
    LENGTHS_US[0]: ("usage_by_second", "second"),
    LENGTHS_US[1]: ("usage_by_minute", "minute"),
    LENGTHS_US[2]: ("usage_by_hour", "hour"),
}


class Seen(NamedTuple):
    """What the views say."""

    windows: dict[WindowKey, Tokens]
    raw: dict[str, Tokens]
    """From ``usage_accepted``."""
    totals: dict[str, Tokens]
    """From ``usage_totals``."""
    verdicts: dict[str, int]
    replays: int
    judged_through: set[int]


@pytest.fixture(scope="module")
def log() -> Log:
    return made(SEED)


@pytest.fixture
def database(clickhouse_dsn: str, spare_databases: Spares) -> Iterator[ClickHouseOptions]:
    """A database that keeps windows of seconds for as long as this log is young."""
    retention = Retention(raw_months=120, seconds_days=3_660)
    for dsn in lent(clickhouse_dsn, spare_databases, retention):
        yield clickhouse_options({"CLICKHOUSE_DSN": dsn}, read_text=str)


def write(options: ClickHouseOptions, *batches: Batch) -> None:
    writer = Writer(options)
    for batch in batches:
        writer.write(batch)
    writer.close()


def seen(options: ClickHouseOptions) -> Seen:
    with connect(options) as client:

        def ask(sql: str) -> list[Any]:
            return list(client.query(sql).result_rows)

        windows, through = {}, set()
        for length_us, (view, column) in VIEWS.items():
            for row in ask(
                f"SELECT entitlement, toUnixTimestamp64Micro({column}), events, input_tokens, "
                f"output_tokens, judged_through FROM {view}"
            ):
                assert (length_us, *row[:2]) not in windows, "a window stands twice"
                windows[length_us, row[0], row[1]] = (row[2], row[3], row[4])
                through.add(row[5])
        sums = "sum(input_tokens), sum(output_tokens)"
        raw = ask(f"SELECT entitlement, count(), {sums} FROM usage_accepted GROUP BY 1")
        replays = ask("SELECT count() FROM usage_accepted WHERE replays != ''")
        totals = ask(
            "SELECT entitlement, events, input_tokens, output_tokens, judged_through "
            "FROM usage_totals"
        )
        verdicts = ask("SELECT verdict, count() FROM verdicts FINAL GROUP BY 1")
    return Seen(
        windows,
        {row[0]: row[1:] for row in raw},
        {row[0]: row[1:4] for row in totals},
        dict(verdicts),
        replays[0][0],
        through | {row[4] for row in totals},
    )


def expected(log: Log) -> Seen:
    return Seen(
        log.windows,
        log.totals,
        log.totals,
        dict(log.verdicts),
        log.replayed,
        {len(log.records[USAGE]) - 1},
    )


def test_the_log_has_everything_that_can_go_wrong(log: Log) -> None:
    orders = sum(b'"order":true' in (record.value or b"") for record in log.records[ROLLUPS])
    months = {record.timestamp * 1_000 < MONTH_END_US for record in log.records[USAGE]}

    assert orders > 30
    assert months == {True, False}
    assert log.replayed > 5
    assert min(log.verdicts["duplicate"], log.verdicts["dead"]) > 20


@pytest.mark.parametrize("seed", range(2))
def test_a_crash_and_another_reading_with_other_boundaries_change_no_sum(
    database: ClickHouseOptions, log: Log, seed: int
) -> None:
    written = list(cuts(log, seed))
    write(database, *written[: len(written) // 2])
    committed = written[len(written) // 4].reaches
    again = {topic: committed[topic, PARTITION] + 1 for topic in (USAGE, VERDICTS, ROLLUPS)}
    write(database, *cuts(log, seed + 100, start=again))

    assert seen(database) == expected(log)


def test_merging_everything_changes_no_sum(database: ClickHouseOptions, log: Log) -> None:
    write(database, *cuts(log, 1), *cuts(log, 2))

    before = seen(database)
    with connect(database) as client:
        for table in TABLES:
            client.command(f"OPTIMIZE TABLE {table} FINAL")
        stored = client.query("SELECT count() FROM usage_raw").result_rows[0][0]
    after = seen(database)

    assert before == expected(log)
    assert after == before
    assert stored < 2 * sum(before.raw[name][0] for name in before.raw), "nothing was merged"


def test_rows_that_stand_twice_in_one_insert_are_one_row(
    database: ClickHouseOptions, log: Log
) -> None:
    twice = Batch(epoch=EPOCH)
    for topic, records in log.records.items():
        twice.add(topic, PARTITION, records)
        twice.add(topic, PARTITION, records)
    write(database, twice)

    assert seen(database) == expected(log)


def torn(options: ClickHouseOptions, usage: NativeBlocks) -> int:
    """Insert until the engine refuses rows of a second table partition; return what it stored."""
    client = connect(options)
    with pytest.raises(DatabaseError, match="TOO_MANY_PARTS"):
        client.raw_insert(
            usage.table,
            usage.names,
            b"".join(usage.blocks),
            settings={
                "max_partitions_per_insert_block": 1,
                "min_insert_block_size_rows": 1,
                "min_insert_block_size_bytes": 1,
            },
            fmt="Native",
        )
    stored: int = client.query(f"SELECT count() FROM {usage.table}").result_rows[0][0]
    client.close()
    return stored


def test_an_insert_that_stored_a_part_of_its_rows_is_repeated_as_a_whole(
    database: ClickHouseOptions, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_blocks, "BLOCK_ROWS", 32)
    whole = Batch(epoch=EPOCH)
    for topic, records in log.records.items():
        whole.add(topic, PARTITION, records)
    usage = next(block for block in whole.blocks() if isinstance(block, NativeBlocks))

    stored = torn(database, usage)
    write(database, whole)

    assert 0 < stored < len(whole.usage)
    assert seen(database) == expected(log)


def test_two_consumers_that_both_write_a_partition_change_no_sum(
    database: ClickHouseOptions, log: Log
) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(write, database, *cuts(log, seed)) for seed in (11, 12)]
    for each in both:
        each.result()

    assert seen(database) == expected(log)


def test_what_is_older_takes_nothing_back_when_it_comes_last(
    database: ClickHouseOptions, log: Log
) -> None:
    write(database, *cuts(log, 3))
    older = Batch(epoch=EPOCH)
    for topic, records in log.records.items():
        older.add(topic, PARTITION, records[: len(records) // 3])
    write(database, older)

    through = judged(database)[EPOCH, PARTITION]
    last = len(log.records[USAGE]) - 1

    assert seen(database) == expected(log)
    assert (through.judged_through, through.read_through) == (last, last)
    assert read_through(database, topic=ROLLUPS, epoch=EPOCH) == {
        PARTITION: len(log.records[ROLLUPS]) - 1
    }


@pytest.mark.parametrize("order", [(ROLLUPS, USAGE, VERDICTS), (VERDICTS, ROLLUPS, USAGE)])
def test_an_order_waits_for_rows_and_judgement_whichever_comes_last(
    database: ClickHouseOptions, log: Log, order: tuple[str, ...]
) -> None:
    writer = Writer(database)
    for topic in order:
        before = {key: each for key, each in seen(database).windows.items() if each[0]}
        assert all(each <= log.windows[key] for key, each in before.items())
        batch = Batch(epoch=EPOCH)
        batch.add(topic, PARTITION, log.records[topic])
        writer.write(batch)
    waiting = writer.orders.waiting
    writer.close()

    assert waiting == 0
    assert seen(database) == expected(log)


def test_orders_of_a_process_that_died_are_counted_by_the_next(
    database: ClickHouseOptions, log: Log
) -> None:
    orders, rest = Batch(epoch=EPOCH), Batch(epoch=EPOCH)
    orders.add(ROLLUPS, PARTITION, log.records[ROLLUPS])
    for topic in (VERDICTS, USAGE):
        rest.add(topic, PARTITION, log.records[topic])
    write(database, orders)
    write(database, rest)

    assert seen(database) == expected(log)


@pytest.mark.parametrize(
    ("span_us", "back_us"),
    [(10_000_000, 0), (10_000_000, 300_000), (60_000_000, 7_000_001), (1_000_000, 0)],
)
def test_a_sliding_window_is_the_sum_of_its_whole_seconds(
    database: ClickHouseOptions, log: Log, span_us: int, back_us: int
) -> None:
    write(database, *cuts(log, 5))
    until_us = MONTH_END_US - back_us
    end_us = until_us // 1_000_000 * 1_000_000
    inside = [
        (key[1], tokens)
        for key, tokens in log.windows.items()
        if key[0] == 1_000_000 and end_us - span_us <= key[2] < end_us
    ]
    names = sorted({name for name, _ in inside})

    found = sliding_usage(database, pool="chat", until_us=until_us, span_us=span_us)
    gold = sliding_usage(
        database, pool="chat", entitlement="gold", until_us=until_us, span_us=span_us
    )

    assert [
        (each.entitlement, each.events, each.tokens.input_tokens, each.tokens.output_tokens)
        for each in found
    ] == [
        (
            name,
            sum(tokens[0] for each, tokens in inside if each == name),
            sum(tokens[1] for each, tokens in inside if each == name),
            sum(tokens[2] for each, tokens in inside if each == name),
        )
        for name in names
    ]
    assert gold == [each for each in found if each.entitlement == "gold"]
    assert {each.judged_through for each in found} <= {len(log.records[USAGE]) - 1}


def test_what_a_former_owner_says_after_the_judgement_changes_nothing(
    database: ClickHouseOptions, log: Log
) -> None:
    write(database, batch_of(usage=log.records[USAGE], verdicts=log.records[VERDICTS]))
    before = seen(database)

    write(database, batch_of(verdicts=[refused(offset) for offset in range(8)]))

    assert seen(database) == before
