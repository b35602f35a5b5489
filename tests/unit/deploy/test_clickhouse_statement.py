"""What a statement is, and where its data begins."""

from __future__ import annotations

import pytest

from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.statement import QUERY_BYTES_MAX, Kind, parse


@pytest.mark.parametrize(
    ("text", "statement", "data_format", "data"),
    [
        pytest.param(
            b"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t", "CSV", b"1,2\n", id="after FORMAT"
        ),
        pytest.param(
            b"insert into t (a, b) format Native\n\x00\xff';",
            "insert into t (a, b)",
            "Native",
            b"\x00\xff';",
            id="binary data may look like anything",
        ),
        pytest.param(
            b"INSERT INTO t (a) VALUES (1), (2)",
            "INSERT INTO t (a)",
            "Values",
            b" (1), (2)",
            id="after VALUES",
        ),
        pytest.param(
            b"INSERT INTO t SETTINGS async_insert = 1 FORMAT JSONEachRow {}",
            "INSERT INTO t SETTINGS async_insert = 1",
            "JSONEachRow",
            b"{}",
            id="settings stay with the statement",
        ),
        pytest.param(
            b"/* FORMAT x */ INSERT INTO format (values) -- VALUES\nFORMAT TSV\r\n\n1",
            "/* FORMAT x */ INSERT INTO format (values) -- VALUES",
            "TSV",
            b"\n1",
            id="names and comments are no keywords, one line end is no data",
        ),
    ],
)
def test_the_data_of_an_insert_begins_after_its_format(
    text: bytes, statement: str, data_format: str, data: bytes
) -> None:
    found = parse(text, complete=False)

    assert (found.kind, found.text, found.format) == (Kind.INSERT, statement, data_format)
    assert text[found.data_at :] == data


@pytest.mark.parametrize(
    ("text", "statement", "answer_format", "tail"),
    [
        pytest.param(b"SELECT 1", "SELECT 1", None, "", id="none"),
        pytest.param(b"SELECT 1 FORMAT JSON;", "SELECT 1", "JSON", "", id="at the end"),
        pytest.param(
            b"SELECT 1 FORMAT TSV SETTINGS max_threads = 1",
            "SELECT 1",
            "TSV",
            "SETTINGS max_threads = 1",
            id="before settings",
        ),
        pytest.param(
            b"SELECT 1 SETTINGS a = 1 FORMAT TSV", "SELECT 1 SETTINGS a = 1", "TSV", "", id="after"
        ),
        pytest.param(b"SELECT 1 AS format", "SELECT 1 AS format", None, "", id="an alias"),
        pytest.param(
            b"SELECT format FROM t", "SELECT format FROM t", None, "", id="a column's name"
        ),
        pytest.param(
            b"SELECT 'x FORMAT CSV' -- FORMAT CSV", "SELECT 'x FORMAT CSV'", None, "", id="a text"
        ),
        pytest.param(
            b"WITH 'it\\'s; ''so' AS q SELECT q", "WITH 'it\\'s; ''so' AS q SELECT q", None, "",
            id="quotes inside quotes",
        ),
        pytest.param(b"(SELECT $$a;b$$)", "(SELECT $$a;b$$)", None, "", id="a heredoc"),
    ],
)  # fmt: skip
def test_a_select_is_parted_from_its_format(
    text: bytes, statement: str, answer_format: str | None, tail: str
) -> None:
    found = parse(text, complete=True)

    assert found.kind is Kind.ROWS
    assert (found.text, found.format, found.tail) == (statement, answer_format, tail)


@pytest.mark.parametrize(
    ("text", "answers", "reads_only", "keeps_state"),
    [
        (b"SHOW TABLES FORMAT JSON", True, True, False),
        (b"DESCRIBE TABLE t", True, True, False),
        (b"SET max_threads = 1", False, True, True),
        (b"USE system", False, True, True),
        (b"CREATE TABLE t (a Int8) ENGINE = Memory", False, False, False),
        (b"CREATE OR REPLACE TEMPORARY TABLE t (a Int8)", False, False, True),
        (b"INSERT INTO t SELECT 1", False, False, False),
        (b"INSERT INTO t (a) WITH 1 AS x SELECT x", False, False, False),
        (b"WITH 1 AS x INSERT INTO t SELECT x", False, False, False),
        (b"ALTER TABLE t DELETE WHERE a = 1", False, False, False),
    ],
)
def test_everything_else_is_run_whole(
    text: bytes, answers: bool, reads_only: bool, keeps_state: bool
) -> None:
    found = parse(text, complete=True)

    assert (found.kind, found.text) == (Kind.PLAIN, text.decode())
    assert (found.answers, found.reads_only, found.keeps_state) == (
        answers,
        reads_only,
        keeps_state,
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(b"", 62, id="empty"),
        pytest.param(b" -- only a comment\n;", 62, id="nothing but a comment"),
        pytest.param(b"SELECT 1; SELECT 2", 62, id="two statements"),
        pytest.param(b"INSERT INTO t SELECT 1; DROP TABLE t", 62, id="two, the first an insert"),
        pytest.param(b"SELECT 1 INTO OUTFILE '/tmp/x'", 358, id="a file of the client"),
        pytest.param(
            b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n1\n", 48, id="input()"
        ),
        pytest.param(b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", 78, id="from a file"),
    ],
)
def test_what_a_server_refuses_is_refused(text: bytes, code: int) -> None:
    with pytest.raises(ClickHouseError) as refused:
        parse(text, complete=True)

    assert refused.value.code == code


def test_a_statement_longer_than_the_bound_is_refused() -> None:
    with pytest.raises(ClickHouseError, match="max_query_size"):
        parse(b"SELECT '" + b"x" * QUERY_BYTES_MAX + b"'", complete=False)
