"""Traces: good rows are read, bad rows are named by line, a file that is no trace is refused."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.arrivals import Arrival
from simulation.traces import BadRow, TraceError, parse, parse_row, read_trace, survey

HEADER = "offset_ms,tenant,model,input_tokens,output_tokens\n"
TRACES = Path(os.environ.get("TOKENPOOLS_TRACES", "/nonexistent"))


def test_a_row_is_an_arrival() -> None:
    (row,) = parse([HEADER, "4314,c012,conv,396,109\n"])

    assert row == Arrival(
        offset_us=4_314_000, tenant="c012", model="conv", input_tokens=396, output_tokens=109
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param("1,t,m,5", "has 4 fields instead of 5", id="a field is missing"),
        pytest.param("x,t,m,5,6", "offset_ms 'x' is no whole number", id="offset is text"),
        pytest.param("1,t,m,-5,6", "input_tokens '-5' is no whole number", id="negative"),
        pytest.param("1,t,m,5,1.5", "output_tokens '1.5' is no whole number", id="fraction"),
        pytest.param("1,t,m,5,", "output_tokens '' is no whole number", id="empty"),
        pytest.param("1,t,m,5,9999999999", "is no whole number from 0 to", id="too many"),
        pytest.param("1,t,m,5,²", "output_tokens '²' is no whole number", id="a digit, not ASCII"),
        pytest.param("0,t,m,5,6", "offset_ms 0 is before the row above it", id="goes back"),
        pytest.param("1," + "t" * 5_000 + ",m,5,6", "has 0 fields", id="a line without end"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_skipped(line: str, reason: str) -> None:
    rows = list(parse([HEADER, "1,t,m,1,1\n", line + "\n", "2,t,m,2,2\n"]))

    assert [isinstance(row, Arrival) for row in rows] == [True, False, True]
    assert isinstance(rows[1], BadRow)
    assert rows[1].line == 3
    assert reason in rows[1].reason


@given(st.text(), st.integers(2, 1_000))
def test_no_line_breaks_the_reader(line: str, number: int) -> None:
    row = parse_row(line, number=number)

    assert isinstance(row, Arrival) or row.line == number


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000)),
        max_size=30,
    )
)
def test_every_row_that_was_written_is_read(rows: list[tuple[int, int, int]]) -> None:
    lines = [HEADER]
    offset_ms = 0
    for gap_ms, input_tokens, output_tokens in rows:
        offset_ms += gap_ms
        lines.append(f'{offset_ms},"a,b",m,{input_tokens},{output_tokens}\r\n')

    read = [row for row in parse(lines) if isinstance(row, Arrival)]

    assert [(row.input_tokens, row.output_tokens) for row in read] == [row[1:] for row in rows]
    assert all(row.tenant == "a,b" for row in read)


def test_plain_and_gzip_files_read_alike(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER + "0,a,m,1,2\n\n5,b,m,3,4\nbad\n"
    (tmp_path / "plain").write_text(text, encoding="utf-8")
    (tmp_path / "zipped").write_bytes(gzip.compress(text.encode()))
    bad: list[BadRow] = []

    plain = list(read_trace(tmp_path / "plain", on_bad_row=bad.append))
    zipped = list(read_trace(tmp_path / "zipped", on_bad_row=bad.append))

    assert plain == zipped
    assert [row.offset_us for row in plain] == [0, 5_000]
    assert [row.line for row in bad] == [5, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "first line must be offset_ms,tenant", id="empty"),
        pytest.param(b"time,who\n1,2\n", "not 'time,who'", id="another header"),
        pytest.param(gzip.compress(HEADER.encode() * 999)[:-9], "damaged", id="cut off gzip"),
        pytest.param(b"\x1f\x8bnonsense" * 9, "damaged", id="no gzip"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)

    with pytest.raises(TraceError, match=message) as caught:
        list(read_trace(path, on_bad_row=lambda _: None))
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        list(read_trace(tmp_path / "none.csv", on_bad_row=lambda _: None))


def test_a_survey_finds_rows_span_and_tenants(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + "0,b,m,1,2\n3,,m,1,2\nbad\n7,a,m,1,2\n8,b,m,1,2\n")

    facts = survey(path)

    assert (facts.rows, facts.bad_rows, facts.span_us) == (4, 1, 8_000)
    assert facts.tenants == ("b", "a")


@pytest.mark.skipif(
    not (TRACES / "azure2023_conv.csv.gz").exists(),
    reason="needs traces: set TOKENPOOLS_TRACES to the folder with the public traces",
)
def test_the_public_conversation_trace_is_read_whole() -> None:
    facts = survey(TRACES / "azure2023_conv.csv.gz")

    assert (facts.rows, facts.bad_rows, facts.tenants) == (19_366, 0, ())
