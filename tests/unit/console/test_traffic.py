"""Do the traffic options mean what they say, and name what contradicts?"""

from __future__ import annotations

from pathlib import Path

import pytest

from console.traffic import TrafficOptions, speed_ppm, traffic_of
from schemas.errors import SettingsError

TRACE = """offset_ms,tenant,model,input_tokens,output_tokens
0,a,m,10,5
500,a,m,x,5
1500,b,m,20,7
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE, encoding="utf-8")
    return path


def test_a_bad_row_is_named_with_its_line_counted_and_skipped(trace: Path) -> None:
    said: list[str] = []
    traffic = traffic_of(TrafficOptions(trace=trace), default_workload="", say=said.append)

    arrivals = list(traffic.arrivals())

    assert [arrival.input_tokens for arrival in arrivals] == [10, 20]
    assert traffic.bad_rows == 1
    assert said[0].startswith(f"{trace}:3:")
    assert "1 bad rows" in traffic.about


def test_a_published_trace_is_replayed_like_our_own(tmp_path: Path) -> None:
    path = tmp_path / "burst.csv"
    path.write_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n"
        "45,ChatGPT,1087,0,1087,Conversation log\n"
        "118.5,GPT-4,417,276,693,API log\n"
    )
    said: list[str] = []
    traffic = traffic_of(TrafficOptions(trace=path), default_workload="", say=said.append)

    arrivals = list(traffic.arrivals())

    assert [arrival.offset_us for arrival in arrivals] == [0, 113_500_000]
    assert (traffic.rows, traffic.span_us, traffic.bad_rows) == (2, 113_500_000, 0)
    assert traffic.about.endswith("(BurstGPT): 2 requests over 113 s, 1 recorded failures left out")
    assert said == []


def test_a_limit_cuts_the_traffics_own_time(trace: Path) -> None:
    options = TrafficOptions(trace=trace, limit_s=1)

    arrivals = traffic_of(options, default_workload="", say=lambda _: None).arrivals()

    assert len(list(arrivals)) == 1


def test_the_same_seed_gives_the_same_traffic_twice() -> None:
    options = TrafficOptions(workload="steady", seed=7, limit_s=10)
    traffic = traffic_of(options, default_workload="", say=lambda _: None)

    assert list(traffic.arrivals()) == list(traffic.arrivals())
    assert traffic.rows == len(list(traffic.arrivals()))


def test_an_unknown_workload_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="known are scene, steady"):
        traffic_of(TrafficOptions(workload="x"), default_workload="", say=lambda _: None)


def test_trace_and_workload_exclude_each_other(trace: Path) -> None:
    options = TrafficOptions(trace=trace, workload="steady")

    with pytest.raises(SettingsError, match="--trace and --workload"):
        traffic_of(options, default_workload="", say=lambda _: None)


@pytest.mark.parametrize(("text", "ppm"), [("1", 1_000_000), ("0.5", 500_000), ("10", 10_000_000)])
def test_a_speed_is_read_exactly(text: str, ppm: int) -> None:
    assert speed_ppm(text) == ppm


@pytest.mark.parametrize("text", ["0", "-1", "fast", "inf", "nan", "1001"])
def test_a_speed_that_is_none_names_the_option(text: str) -> None:
    with pytest.raises(SettingsError, match="--speed"):
        speed_ppm(text)
