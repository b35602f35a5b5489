"""clickhouse-connect, synchronous and asynchronous, works as against any server."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.summary import QuerySummary

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

ROWS = 200_000  # more than one block, so more than one compressed frame
EVENTS = "CREATE TABLE events (n UInt64, name LowCardinality(String), price Decimal(18, 4)) "


@pytest.fixture
def events(client: Client) -> Client:
    """A client whose database has an empty table ``events``."""
    client.command(EVENTS + "ENGINE = MergeTree ORDER BY n")
    return client


def test_the_handshake_tells_version_and_zone(client: Client) -> None:
    ((version, zone),) = client.query("SELECT version(), timezone()").result_rows

    assert client.server_version == version
    assert zone
    assert client.ping()


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_every_row_of_an_insert_of_many_blocks_is_stored(
    database: str, events: Client, compress: str | bool
) -> None:
    client = clickhouse_connect.get_client(dsn=database, compress=compress)
    columns: list[list[object]] = [
        list(range(ROWS)),
        [f"tenant-{n % 10}" for n in range(ROWS)],
        [Decimal("1.5")] * ROWS,
    ]

    summary = client.insert("events", columns, column_names="*", column_oriented=True)
    stored = client.query("SELECT count(), sum(n), uniqExact(name), sum(price) FROM events")
    client.close()

    assert summary.written_rows == ROWS
    assert stored.first_row == (ROWS, ROWS * (ROWS - 1) // 2, 10, Decimal("1.5") * ROWS)


def test_an_insert_names_the_columns_that_it_fills(events: Client) -> None:
    events.insert("events", [[7]], column_names=["n"])

    assert events.query("SELECT * FROM events").result_rows == [(7, "", Decimal(0))]


def test_a_deduplication_token_is_accepted(events: Client) -> None:
    for token in ("a", "b"):
        events.insert(
            "events", [[1]], column_names=["n"], settings={"insert_deduplication_token": token}
        )

    assert events.query("SELECT count() FROM events").first_row == (2,)


def test_final_reads_the_last_version_of_a_position(client: Client) -> None:
    client.command(
        "CREATE TABLE versions (position UInt64, version UInt64, tokens UInt64) "
        "ENGINE = ReplacingMergeTree(version) ORDER BY position"
    )
    for rows in ([[1, 1, 10], [2, 1, 20]], [[1, 2, 11], [2, 1, 20]], [[1, 1, 10]]):
        client.insert("versions", rows, column_names="*")

    last = client.query("SELECT * FROM versions FINAL ORDER BY position")

    assert last.result_rows == [(1, 2, 11), (2, 1, 20)]


def test_settings_belong_to_one_query(client: Client) -> None:
    asked = "SELECT getSetting('max_threads')"
    usual = client.query(asked).first_row

    inside = client.query(asked, settings={"max_threads": 7}).first_row

    assert inside == (7,)
    assert client.query(asked).first_row == usual


def test_typed_parameters_arrive_as_they_were_given(client: Client) -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=dt.UTC)
    given: dict[str, object] = {
        "moment_64": moment,
        "price": Decimal("12.3456"),
        "names": ["a", "it's", "tab\t"],
        "text": "quote ' back \\ tab \t line \n end",
        "nothing": None,
    }

    found = client.query(
        "SELECT toUnixTimestamp64Micro({moment:DateTime64(6, 'UTC')}), {price:Decimal(18, 4)}, "
        "{names:Array(String)}, {text:String}, {nothing:Nullable(String)}",
        parameters=given,
    )

    micros = 1_767_323_045_123_456
    assert found.first_row == (micros, given["price"], given["names"], given["text"], None)


def test_a_parameter_too_long_for_a_url_arrives_in_a_form(client: Client) -> None:
    names = [f"entitlement-{n}" for n in range(5_000)]

    found = client.query("SELECT length({names:Array(String)})", parameters={"names": names})

    assert found.first_row == (5_000,)


def test_rows_are_streamed_in_blocks(client: Client) -> None:
    query = "SELECT number, toString(number) FROM numbers(300000)"
    with client.query_row_block_stream(query) as blocks:
        sizes = [len(block) for block in blocks]

    assert sum(sizes) == 300_000
    assert len(sizes) > 1


def test_an_empty_answer_has_no_rows(events: Client) -> None:
    assert events.query("SELECT * FROM events").result_rows == []
    assert events.query("SELECT * FROM events LIMIT 0").column_names == ("n", "name", "price")


def test_an_error_has_clickhouses_code(client: Client) -> None:
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE") as unknown:
        client.query("SELECT * FROM nowhere")
    with pytest.raises(DatabaseError, match="SYNTAX_ERROR") as syntax:
        client.command("SELEC 1")

    assert (unknown.value.code, syntax.value.code) == (60, 62)


@pytest.mark.parametrize("compress", ["lz4", False])
def test_an_error_in_the_middle_of_a_stream_is_not_taken_for_its_end(
    database: str, compress: str | bool
) -> None:
    client = clickhouse_connect.get_client(dsn=database, compress=compress)
    query = "SELECT throwIf(number = 2000000), number, hex(number) FROM numbers(3000000)"
    with (
        pytest.raises(StreamFailureError, match="395"),
        client.query_row_block_stream(query) as blocks,
    ):
        for _ in blocks:
            pass
    client.close()


def test_a_session_keeps_its_temporary_tables_and_settings(client: Client, database: str) -> None:
    other = clickhouse_connect.get_client(dsn=database)
    client.command("CREATE TEMPORARY TABLE wanted (n UInt8)")
    client.command("INSERT INTO wanted VALUES (1), (2)")
    client.command("SET max_threads = 3")

    mine = client.query("SELECT sum(n), getSetting('max_threads') FROM wanted").first_row
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        other.query("SELECT * FROM wanted")
    other.close()

    assert mine == (3, 3)


def test_system_tables_tell_what_there_is(events: Client) -> None:
    tables = "SELECT name, engine FROM system.tables WHERE database = currentDatabase()"
    columns = (
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() "
        "AND table = 'events' ORDER BY position"
    )

    assert events.query(tables).result_rows == [("events", "MergeTree")]
    assert events.query(columns).result_rows == [
        ("n", "UInt64"),
        ("name", "LowCardinality(String)"),
        ("price", "Decimal(18, 4)"),
    ]


def test_commands_return_their_answer(events: Client) -> None:
    assert events.command("EXISTS TABLE events") == 1
    assert events.command("SHOW TABLES") == "events"
    assert events.command("SELECT count() FROM events") == 0


def test_a_command_without_an_answer_returns_what_it_wrote(events: Client) -> None:
    summary = events.command("INSERT INTO events SELECT number, 'x', 1 FROM numbers(10)")

    assert isinstance(summary, QuerySummary)
    assert summary.written_rows == 10


async def test_the_async_client_runs_queries_side_by_side(database: str) -> None:
    client = await clickhouse_connect.get_async_client(dsn=database)
    await client.command(EVENTS + "ENGINE = MergeTree ORDER BY n")
    await client.insert("events", [[1, "a", Decimal(1)]], column_names="*")

    answers = await asyncio.gather(
        *(client.query(f"SELECT {n}, sleep(0.05), count() FROM events") for n in range(20))
    )
    await client.close()

    assert [answer.first_row for answer in answers] == [(n, 0, 1) for n in range(20)]
