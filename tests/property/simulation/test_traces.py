"""Traces: good rows are read, bad rows are named by line, a file that is no trace is refused."""

import gzip
import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simulation.arrivals import Arrival
from simulation.traces.reading import FORMATS, bounded_lines, parse, read_trace, survey
from simulation.traces.recorded import Recorded
from simulation.traces.rows import LINE_CHARS_MAX, BadRow, TraceError

HEADER = "offset_ms,tenant,model,input_tokens,output_tokens\n"
FIRST_LINES = [
    HEADER,
    "TIMESTAMP,ContextTokens,GeneratedTokens\n",
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n",
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,"
    "Log Type\n",
    '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0]}\n',
]
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
        pytest.param("0,t,m,5,6", "is before the row above it", id="goes back"),
        pytest.param("1," + "t" * 5_000 + ",m,5,6", "is longer than", id="a line without end"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_skipped(line: str, reason: str) -> None:
    rows = list(parse([HEADER, "1,t,m,1,1\n", line + "\n", "2,t,m,2,2\n"]))

    assert [isinstance(row, Arrival) for row in rows] == [True, False, True]
    assert isinstance(rows[1], BadRow)
    assert rows[1].line == 3
    assert reason in rows[1].reason


@pytest.mark.parametrize("first", FIRST_LINES)
@given(line=st.text(st.characters(exclude_characters="\n\r")))
@example(line="\ud800")
def test_no_line_breaks_the_reader(first: str, line: str) -> None:
    rows = list(parse([first, line, "\n"]))

    assert all(isinstance(row, Arrival) or row.line == 2 for row in rows)


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
        pytest.param(b"", "first line is ''", id="empty"),
        pytest.param(b"time,who\n1,2\n", "first line is 'time,who'", id="another header"),
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


def test_the_refusal_lists_every_format_that_is_understood() -> None:
    with pytest.raises(TraceError) as caught:
        list(parse(["time,who\n"]))

    assert [each.name for each in FORMATS if each.name not in str(caught.value)] == []
    assert [each.first_line for each in FORMATS if each.first_line not in str(caught.value)] == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        list(read_trace(tmp_path / "none.csv", on_bad_row=lambda _: None))


def test_a_survey_finds_rows_span_and_tenants(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + "0,b,m,1,2\n3,,m,1,2\nbad\n7,a,m,1,2\n8,b,m,1,2\n")

    facts = survey(path)

    assert (facts.rows, facts.bad_rows, facts.span_us) == (4, 1, 8_000)
    assert facts.tenants == ("b", "a")


def test_a_survey_up_to_a_limit_counts_what_is_before_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + "0,b,m,1,2\n7,a,m,1,2\n8,c,m,1,2\nbad\n")

    facts = survey(path, limit_us=8_000)

    assert (facts.rows, facts.bad_rows, facts.span_us, facts.tenants) == (2, 0, 7_000, ("b", "a"))


@given(st.lists(st.integers(0, 2 * LINE_CHARS_MAX + 5), max_size=4))
def test_a_line_without_end_is_kept_in_memory_only_up_to_a_bound(lengths: list[int]) -> None:
    text = "".join("x" * length + "\n" for length in lengths)

    lines = list(bounded_lines(io.StringIO(text)))

    assert [len(line) for line in lines] == [
        min(length + 1, LINE_CHARS_MAX + 1) for length in lengths
    ]


@st.composite
def requests(draw: st.DrawFn) -> list[Arrival]:
    """Requests in order from 0 on, with what every format can say of them."""
    gaps_ms = draw(st.lists(st.integers(0, 5_000), min_size=1, max_size=30))
    tokens = st.integers(1, 200_000)
    offsets_ms = [sum(gaps_ms[1 : at + 1]) for at in range(len(gaps_ms))]
    return [
        Arrival(
            offset_us=offset_ms * 1_000,
            tenant="",
            input_tokens=draw(tokens),
            output_tokens=draw(tokens),
        )
        for offset_ms in offsets_ms
    ]


def as_own(arrivals: list[Arrival]) -> list[str]:
    rows = (f"{a.offset_us // 1_000},,,{a.input_tokens},{a.output_tokens}\n" for a in arrivals)
    return [FIRST_LINES[0], *rows]


def as_azure(arrivals: list[Arrival]) -> list[str]:
    start = datetime(2023, 11, 16, 18, 15, 46, 680_590, tzinfo=UTC)
    rows = (
        f"{start + timedelta(microseconds=a.offset_us):%Y-%m-%d %H:%M:%S.%f}0,"
        f"{a.input_tokens},{a.output_tokens}\n"
        for a in arrivals
    )
    return [FIRST_LINES[1], *rows]


def as_burstgpt(arrivals: list[Arrival]) -> list[str]:
    rows = (
        f"{19_440_110 + a.offset_us // 1_000_000}.{a.offset_us % 1_000_000:06d},,3,,"
        f"{a.input_tokens},{a.output_tokens},{a.input_tokens + a.output_tokens},API log\n"
        for a in arrivals
    )
    return [FIRST_LINES[3], *rows]


def as_mooncake(arrivals: list[Arrival]) -> list[str]:
    return [
        f'{{"timestamp": {a.offset_us // 1_000}, "input_length": {a.input_tokens}, '
        f'"output_length": {a.output_tokens}, "hash_ids": [0, 14, 15]}}\n'
        for a in arrivals
    ]


WRITERS = {"own": as_own, "azure": as_azure, "burstgpt": as_burstgpt, "mooncake": as_mooncake}


@pytest.mark.parametrize("name", WRITERS)
@given(arrivals=requests())
def test_every_format_says_the_same_requests(name: str, arrivals: list[Arrival]) -> None:
    assert list(parse(WRITERS[name](arrivals))) == arrivals


@pytest.mark.parametrize("name", ["azure", "burstgpt", "mooncake"])
@given(arrivals=requests(), data=st.data())
def test_published_rows_in_any_order_are_the_same_requests(
    name: str, arrivals: list[Arrival], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(arrivals))

    read = list(parse(WRITERS[name](shuffled)))

    assert all(isinstance(row, Arrival) for row in read)
    assert sorted(read, key=repr) == sorted(arrivals, key=repr)
    offsets_us = [row.offset_us for row in read if isinstance(row, Arrival)]
    assert offsets_us == sorted(offsets_us)


# What shared descriptions of the public traces say of them: rows, span in whole minutes, tenants.
PUBLIC = {
    "azure2023_conv.csv.gz": (19_366, 58, 0),
    "azure2023_code.csv.gz": (8_819, 57, 0),
    "servegen_m-small_busy15min.csv.gz": (283_067, 14, 13),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_trace_is_read_whole(name: str) -> None:
    if not (TRACES / name).exists():
        pytest.skip("needs traces: set TOKENPOOLS_TRACES to the folder with the public traces")

    facts = survey(TRACES / name)

    assert (facts.rows, facts.span_us // 60_000_000, len(facts.tenants)) == PUBLIC[name]
    assert (facts.bad_rows, facts.failed_rows, facts.format) == (0, 0, "tokenpools")


@pytest.mark.parametrize("name", ["azure", "burstgpt", "mooncake"])
def test_a_public_trace_in_every_format_is_the_same(name: str, tmp_path: Path) -> None:
    source = TRACES / "azure2023_code.csv.gz"
    if not source.exists():
        pytest.skip("needs traces: set TOKENPOOLS_TRACES to the folder with the public traces")
    arrivals = [a for a in read_trace(source, on_bad_row=lambda _: None) if a.output_tokens]
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress("".join(WRITERS[name](arrivals)).encode()))

    read = list(read_trace(path, on_bad_row=lambda _: None))

    sizes = [(a.offset_us, a.input_tokens, a.output_tokens) for a in arrivals]
    assert [(a.offset_us, a.input_tokens, a.output_tokens) for a in read] == sizes


def test_a_recorded_trace_is_read_again_at_any_speed_up_to_its_span(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + "0,a,m,1,2\nbad\n3,a,m,3,4\n7,a,m,5,6\n")
    recorded = Recorded(path=path, span_us=3_000, speed_ppm=2_000_000)

    assert [arrival.offset_us for arrival in recorded] == [0, 1_500]
    assert list(recorded) == list(recorded)
    assert recorded.duration_us == 1_501
