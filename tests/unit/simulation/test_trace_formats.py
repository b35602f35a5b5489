"""The published formats: what a line of each means, and what of it cannot be replayed."""

from pathlib import Path

import pytest

from simulation.arrivals import Arrival
from simulation.traces import azure
from simulation.traces.order import InOrder
from simulation.traces.reading import parse, recognise, survey
from simulation.traces.rows import BadRow, Reader, Row, TraceError

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
BURST_2 = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
)


def offsets_us(lines: list[str]) -> list[int]:
    return [row.offset_us for row in parse(lines) if isinstance(row, Arrival)]


def bad(lines: list[str]) -> list[BadRow]:
    return [row for row in parse(lines) if isinstance(row, BadRow)]


def test_azures_offsets_count_from_its_first_row_to_the_microsecond() -> None:
    first, second = parse(
        [AZURE, "2023-11-16 18:17:03.9799600,374,44\n", "2023-11-16 18:17:04.0319609,396,109\n"]
    )

    assert first == Arrival(offset_us=0, tenant="", input_tokens=374, output_tokens=44)
    assert second == Arrival(offset_us=52_000, tenant="", input_tokens=396, output_tokens=109)


def test_azures_week_of_2024_has_zones_and_sometimes_no_fraction() -> None:
    lines = [AZURE, "2024-05-12 00:00:00+00:00,1,2\n", "2024-05-12 00:00:00.007000+00:00,3,4\n"]

    assert offsets_us(lines) == [0, 7_000]


def test_burstgpts_failures_are_left_out_and_told_from_bad_rows() -> None:
    lines = [
        BURST,
        "5,ChatGPT,472,18,490,Conversation log\n",
        "45,ChatGPT,1087,0,1087,Conversation log\n",
        "118,GPT-4,417,276,693,Conversation log\n",
        "119,GPT-4,x,276,693,API log\n",
    ]

    assert offsets_us(lines) == [0, 113_000_000]
    assert [(row.line, row.failed) for row in bad(lines)] == [(3, True), (5, False)]
    assert "0 response tokens" in bad(lines)[0].reason
    assert "Request tokens 'x'" in bad(lines)[1].reason


def test_burstgpts_columns_are_found_by_their_names() -> None:
    session = "1722ac82-0a46-4bf0-aa08-89794e7a2b3f"
    lines = [
        BURST_2,
        f"19440110.0,{session},43,GPT-4,906,446,1352,Conversation log\n",
        "19440161.25,,2,ChatGPT,36,29,65,API log\n",
    ]

    first, second = parse(lines)

    assert first == Arrival(
        offset_us=0, tenant="", model="GPT-4", input_tokens=906, output_tokens=446
    )
    assert second == Arrival(
        offset_us=51_250_000, tenant="", model="ChatGPT", input_tokens=36, output_tokens=29
    )


def test_mooncakes_first_line_is_a_request_and_its_unit_is_the_millisecond() -> None:
    rows = list(
        parse(
            [
                '{"timestamp": 0, "input_length": 6755, "output_length": 500, "hash_ids": [0]}\n',
                '{"timestamp": 3052, "input_length": 2287, "output_length": 316}\n',
            ]
        )
    )

    assert rows == [
        Arrival(offset_us=0, tenant="", input_tokens=6_755, output_tokens=500),
        Arrival(offset_us=3_052_000, tenant="", input_tokens=2_287, output_tokens=316),
    ]


def test_a_trace_whose_timestamps_are_seconds_is_not_taken_for_mooncakes() -> None:
    with pytest.raises(TraceError, match="begins no known trace format"):
        recognise('{"chat_id": 0, "timestamp": 0.5, "input_length": 5, "output_length": 4}')


@pytest.mark.parametrize(
    ("first", "line", "reason"),
    [
        pytest.param(AZURE, "yesterday,1,2", "TIMESTAMP 'yesterday'", id="azure: no date"),
        pytest.param(AZURE, "2023-02-30 00:00:00,1,2", "is no date", id="azure: no such day"),
        pytest.param(AZURE, "2023-11-16 18:17:03,1", "2 fields instead of 3", id="azure: short"),
        pytest.param(AZURE, "2023-11-16 18:17:03,-1,2", "ContextTokens '-1'", id="azure: -1"),
        pytest.param(AZURE, "2023-11-16 18:17:03,1,", "GeneratedTokens ''", id="azure: empty"),
        pytest.param(AZURE, "2099-11-16 18:17:03,1,2", "more than 10 years", id="azure: far away"),
        pytest.param(AZURE, "x" * 5_000, "is longer than 4096", id="azure: long"),
        pytest.param(BURST, "soon,m,1,2,3,API log", "Timestamp 'soon'", id="burstgpt: no number"),
        pytest.param(BURST, "1,m,1,1.5,3,API log", "Response tokens '1.5'", id="burstgpt: part"),
        pytest.param(BURST, "1,m,1,2,3", "5 fields instead of 6", id="burstgpt: short"),
    ],
)
def test_a_bad_row_names_its_column_and_is_skipped(first: str, line: str, reason: str) -> None:
    good = "2023-11-16 18:17:03,1,2\n" if first == AZURE else "0,m,1,2,3,API log\n"
    (row,) = bad([first, good, line + "\n"])

    assert row.line == 3
    assert reason in row.reason
    assert not row.failed


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param("{", "no request in JSON", id="cut off"),
        pytest.param("[" * 100_000, "no request in JSON", id="deep"),
        pytest.param('{"timestamp": 1, "input_length": 1}', "output_length", id="a key is missing"),
        pytest.param(
            '{"timestamp": -1, "input_length": 1, "output_length": 1}',
            "timestamp -1",
            id="negative",
        ),
        pytest.param(
            '{"timestamp": 1, "input_length": 1, "output_length": 999999999}',
            "output_length 999999999",
            id="too many",
        ),
        pytest.param(
            '{"timestamp": 1, "input_length": 1.5, "output_length": 1}', "input_length", id="part"
        ),
        pytest.param("9" * 1_048_577, "is longer than", id="long"),
    ],
)
def test_a_bad_line_of_mooncakes_is_skipped(line: str, reason: str) -> None:
    good = '{"timestamp": 0, "input_length": 1, "output_length": 1}\n'
    (row,) = bad([good, line + "\n", good])

    assert row.line == 2
    assert reason in row.reason


def test_a_row_later_than_the_rows_held_back_is_skipped_and_says_so() -> None:
    reader = Reader(read=azure.read_row, reorder_rows=2)
    order = InOrder(reader)
    instants = [10, 30, 20, 40, 50, 5]

    rows = [
        entry
        for line, instant_us in enumerate(instants, start=2)
        for entry in order.add(line, Row(instant_us=instant_us, input_tokens=1, output_tokens=1))
    ]
    rows += order.rest()

    assert [row.offset_us for row in rows if isinstance(row, Arrival)] == [0, 10, 20, 30, 40]
    assert [row for row in rows if isinstance(row, BadRow)] == [
        BadRow(7, "is before rows that stand more than 2 lines above it")
    ]


def test_a_survey_names_the_format_and_counts_failures_apart(tmp_path: Path) -> None:
    path = tmp_path / "burst.csv"
    path.write_text(BURST + "5,m,1,1,2,API log\n6,m,1,0,1,API log\nbad\n")

    facts = survey(path)

    assert (facts.format, facts.rows, facts.bad_rows, facts.failed_rows) == ("BurstGPT", 1, 1, 1)
