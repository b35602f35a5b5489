"""``curl``, Grafana and BI tools: plain requests get what a server would answer."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import lz4.frame
import pytest
import zstandard

from tests.integration.clickhouse_http.http_client import Http
from tests.integration.engine_fixtures import database_in

PAIRS = "CREATE TABLE pairs (n UInt64, name String) ENGINE = MergeTree ORDER BY n"


@pytest.fixture
def pairs(http: Http) -> Http:
    """Requests to a database with an empty table ``pairs``."""
    assert http.post(PAIRS).status == 200
    return http


def test_ping_needs_no_login(http: Http) -> None:
    nobody = Http(http.dsn, login={"Authorization": ""})

    assert nobody.get("/ping").text == "Ok.\n"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        pytest.param("", "SELECT 1 + 1", id="in the body"),
        pytest.param("SELECT 1 + 1", "", id="in the URL"),
        pytest.param("SELECT 1 +", "1", id="begun in the URL, ended in the body"),
        pytest.param("", "SELECT 1 + 1 ; -- done", id="with a semicolon and a comment"),
    ],
)
def test_a_statement_may_stand_in_url_and_body(http: Http, query: str, body: str) -> None:
    reply = http.post(body, query=query)

    assert (reply.status, reply.text) == (200, "2\n")


def test_an_answer_says_what_it_is(http: Http) -> None:
    reply = http.post("SELECT number FROM numbers(3)", query_id="asked-by-a-test")

    assert reply.headers["x-clickhouse-query-id"] == "asked-by-a-test"
    assert reply.headers["x-clickhouse-format"] == "TabSeparated"
    assert reply.headers["x-clickhouse-timezone"]
    assert reply.headers["x-clickhouse-server-display-name"]
    assert json.loads(reply.headers["x-clickhouse-summary"])["read_rows"] == "3"


@pytest.mark.parametrize(
    ("answer_format", "expected"),
    [
        ("JSONEachRow", '{"n":"x"}\n'),
        ("CSVWithNames", '"n"\n"x"\n'),
        ("TabSeparatedWithNamesAndTypes", "n\nString\nx\n"),
    ],
)
def test_the_output_format_is_asked_for_in_three_ways(
    http: Http, answer_format: str, expected: str
) -> None:
    by_sql = http.post(f"SELECT 'x' AS n FORMAT {answer_format}")
    by_parameter = http.post("SELECT 'x' AS n", default_format=answer_format)
    by_header = http.post("SELECT 'x' AS n", headers={"X-ClickHouse-Format": answer_format})

    assert [by_sql.text, by_parameter.text, by_header.text] == [expected] * 3


@pytest.mark.parametrize("rows", [0, 3, 400_000])
def test_a_json_answer_is_one_document_however_long_it_is(http: Http, rows: int) -> None:
    reply = http.post(f"SELECT number AS n FROM numbers({rows}) FORMAT JSONCompact")

    document = json.loads(reply.body)
    assert document["rows"] == rows
    assert len(document["data"]) == rows


def test_a_csv_answer_has_its_names_once(http: Http) -> None:
    lines = http.post("SELECT number AS n FROM numbers(300000) FORMAT CSVWithNames").text.split()

    assert lines == ['"n"', *map(str, range(300_000))]


def test_a_parquet_answer_is_one_file_that_can_be_inserted_again(pairs: Http) -> None:
    parquet = pairs.post("SELECT number AS n, hex(n) AS name FROM numbers(300000) FORMAT Parquet")

    inserted = pairs.post(parquet.body, query="INSERT INTO pairs FORMAT Parquet")
    counted = pairs.post("SELECT count(), sum(n) FROM pairs")

    assert parquet.body.startswith(b"PAR1")
    assert inserted.status == 200, inserted.text
    assert counted.text == f"300000\t{300_000 * 299_999 // 2}\n"


def test_data_follows_its_insert_in_url_or_body(pairs: Http) -> None:
    pairs.post('{"n":1,"name":"a"}\n', query="INSERT INTO pairs FORMAT JSONEachRow")
    pairs.post("INSERT INTO pairs FORMAT CSV\n2,b\n3,c\n")
    last = pairs.post("INSERT INTO pairs (name, n) VALUES ('d', 2 + 2), (upper('e'), 5)")

    assert json.loads(last.headers["x-clickhouse-summary"])["written_rows"] == "2"
    assert pairs.post("SELECT * FROM pairs ORDER BY n").text == "1\ta\n2\tb\n3\tc\n4\td\n5\tE\n"


def _frames(compress: Callable[[bytes], bytes]) -> bytes:
    """Return 20 frames of 10,000 rows each, one after the other."""
    return b"".join(
        compress("".join(f"{n},x\n" for n in range(at, at + 10_000)).encode())
        for at in range(0, 200_000, 10_000)
    )


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
    ids=["gzip", "lz4", "zstd"],
)
def test_a_compressed_body_is_read_to_its_end(
    pairs: Http, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    reply = pairs.post(
        _frames(compress),
        headers={"Content-Encoding": encoding},
        query="INSERT INTO pairs FORMAT CSV",
    )

    assert reply.status == 200, reply.text
    assert pairs.post("SELECT count(), sum(n) FROM pairs").text == "200000\t19999900000\n"


def test_a_compressed_body_that_is_cut_is_refused(pairs: Http) -> None:
    cut = gzip.compress(b"1,a\n" * 50_000)[:-20]

    reply = pairs.post(
        cut, headers={"Content-Encoding": "gzip"}, query="INSERT INTO pairs FORMAT CSV"
    )

    assert reply.status >= 400


def test_rows_that_the_table_refuses_when_they_are_written_are_no_success(http: Http) -> None:
    http.post(f"{PAIRS} AS SELECT 1 AS n, 'a' AS name")
    http.post("ALTER TABLE pairs ADD CONSTRAINT small CHECK n < 5")

    refused = http.post("7,a\n", query="INSERT INTO pairs FORMAT CSV")
    taken = http.post("4,a\n", query="INSERT INTO pairs SETTINGS async_insert = 0 FORMAT CSV")

    assert refused.status >= 400
    assert refused.headers["x-clickhouse-exception-code"] == "469"
    assert taken.status == 200, taken.text
    assert http.post("SELECT n FROM pairs ORDER BY n").text == "1\n4\n"


def test_a_body_may_come_in_chunks(pairs: Http) -> None:
    def body() -> Iterator[bytes]:
        yield b"INSERT INTO pairs "
        yield b"FORMAT CSV\n"
        for n in range(1000):
            yield f"{n},x\n".encode()

    assert pairs.post(body()).status == 200
    assert pairs.post("SELECT count() FROM pairs").text == "1000\n"


@pytest.mark.parametrize(
    ("encoding", "decompress"),
    [
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("lz4", lz4.frame.decompress),
        ("zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
    ],
    ids=["gzip", "deflate", "lz4", "zstd"],
)
@pytest.mark.parametrize("rows", [10, 400_000])
def test_an_answer_is_compressed_when_that_is_asked_for(
    http: Http, encoding: str, decompress: Callable[[bytes], bytes], rows: int
) -> None:
    query = f"SELECT number FROM numbers({rows})"
    reply = http.post(query, headers={"Accept-Encoding": encoding}, enable_http_compression="1")

    assert reply.headers["content-encoding"] == encoding
    assert decompress(reply.body) == http.post(query).body


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        pytest.param("SELEC 1", 400, 62, id="syntax"),
        pytest.param("", 400, 62, id="empty"),
        pytest.param("SELECT 1; SELECT 2", 400, 62, id="several statements"),
        pytest.param("SELECT * FROM nowhere", 404, 60, id="unknown table"),
        pytest.param("SELECT * FROM nowhere.nothing", 404, 81, id="unknown database"),
        pytest.param("SELECT nothing", 404, 47, id="unknown column"),
        pytest.param("SELECT 1 FORMAT Nothing", 404, 73, id="unknown format"),
        pytest.param("SELECT 1 SETTINGS nothing = 1", 404, 115, id="unknown setting"),
        pytest.param("SELECT toUInt8('x')", 400, 6, id="a text that is no number"),
        pytest.param("SELECT throwIf(1)", 500, 395, id="a failing function"),
        pytest.param("INSERT INTO pairs FORMAT CSV\nx,y\n", 400, 27, id="bad data"),
        pytest.param("INSERT INTO pairs (z) FORMAT CSV\n1\n", 500, 16, id="no such column"),
        pytest.param("INSERT INTO nowhere FORMAT CSV\n1\n", 404, 60, id="insert into nowhere"),
        pytest.param("CREATE TABLE pairs (n Int8) ENGINE = Memory", 500, 57, id="exists already"),
        pytest.param(
            "SELECT sum(sleepEachRow(1)) FROM numbers(9) SETTINGS max_execution_time = 1, "
            "max_block_size = 1, function_sleep_max_microseconds_per_block = 9000000",
            408,
            159,
            id="too slow",
        ),
    ],
)
def test_an_error_has_its_status_code_and_text(
    pairs: Http, statement: str, status: int, code: int
) -> None:
    reply = pairs.post(statement)

    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert reply.text.startswith(f"Code: {code}. DB::Exception: ")


def test_an_unknown_database_or_setting_in_the_url_is_refused(http: Http) -> None:
    assert http.post("SELECT 1", database="nowhere").status == 404
    assert http.post("SELECT 1", no_such_setting="1").status == 404


def test_a_wrong_login_is_refused(http: Http) -> None:
    intruder = Http(http.dsn, login={"X-ClickHouse-User": "default", "X-ClickHouse-Key": "guess"})
    reply = intruder.post("SELECT 1")

    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (403, "516")


def test_a_get_changes_nothing(pairs: Http) -> None:
    assert pairs.get(query="SELECT count() FROM pairs").text == "0\n"
    assert pairs.get(query="DROP TABLE pairs").headers["x-clickhouse-exception-code"] == "164"
    assert pairs.post("EXISTS TABLE pairs").text == "1\n"


def test_an_error_after_the_first_rows_cuts_the_answer(http: Http) -> None:
    reply = http.post("SELECT throwIf(number = 2000000), number FROM numbers(3000000)")

    tag = reply.headers["x-clickhouse-exception-tag"]
    assert reply.status == 200
    assert reply.cut
    assert f"__exception__\r\n{tag}\r\nCode: 395. DB::Exception: ".encode() in reply.body


def test_whoever_waits_for_the_end_gets_the_errors_status(http: Http) -> None:
    reply = http.post(
        "SELECT throwIf(number = 2000000), number FROM numbers(3000000)", wait_end_of_query="1"
    )

    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (500, "395")


def test_a_long_answer_that_is_waited_for_is_whole(http: Http) -> None:
    query = "SELECT number FROM numbers(500000)"

    assert http.post(query, wait_end_of_query="1").body == http.post(query).body


def test_typed_parameters_stand_in_the_url(http: Http) -> None:
    reply = http.post(
        "SELECT {n:UInt8} + 1, {name:String}, {table:Identifier}.n FROM (SELECT 5 AS n) AS chosen",
        param_n="41",
        param_name="it's",
        param_table="chosen",
    )

    assert reply.text == "42\tit\\'s\t5\n"


def test_a_session_runs_one_statement_at_a_time(http: Http) -> None:
    def sleeping(_: int) -> str:
        reply = http.post("SELECT sleep(1)", session_id="shared")
        return reply.headers.get("x-clickhouse-exception-code", "")

    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(sleeping, range(2)))

    assert sorted(codes) == ["", "373"]


def test_a_session_that_must_exist_is_looked_for(http: Http) -> None:
    reply = http.post("SELECT 1", session_id="never-begun", session_check="1")

    assert reply.headers["x-clickhouse-exception-code"] == "372"


def test_databases_are_apart(contract_dsn: str, pairs: Http) -> None:
    pairs.post("INSERT INTO pairs VALUES (1, 'a')")
    for other in database_in(contract_dsn):
        reply = Http(other).post("SELECT * FROM pairs")

        assert reply.headers["x-clickhouse-exception-code"] == "60"


def test_queries_run_side_by_side(http: Http) -> None:
    with ThreadPoolExecutor(30) as pool:
        replies = list(pool.map(lambda n: http.post(f"SELECT {n}, sleep(0.1)"), range(30)))

    assert [reply.text for reply in replies] == [f"{n}\t0\n" for n in range(30)]
