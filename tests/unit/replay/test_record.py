"""The replayer's own file: what it adds up to, and what a crash leaves of it."""

from pathlib import Path

import pytest

from console.replay.plan import max_tokens_for
from console.replay.record import Recorder, RunLine, read_lines, read_totals
from schemas.errors import TokenpoolsError
from schemas.usage import UsageEvent
from tests.component.gateways.samples import usage

RUN = RunLine(run_id="r", source="s", started_us=1, speed_ppm=1_000_000, admission=True)


def written(path: Path, *events: UsageEvent) -> Path:
    with Recorder(path) as recorder:
        recorder.write(RUN)
        for event in events:
            recorder.usage(event)
    return path


def test_acknowledged_tokens_are_summed_by_pool_and_entitlement(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a" / "run.jsonl",
        usage("chat", sequence=1, output_tokens=5),
        usage("chat", sequence=2, output_tokens=6),
        usage("other", sequence=1, output_tokens=7),
    )

    totals = read_totals([path])

    assert (totals.events, totals.tokens, totals.undelivered) == (3, 18, 0)
    assert totals.by_pool() == {"chat": 11, "other": 7}
    assert totals.by_entitlement[("chat", "copilot")].output_tokens == 11


def test_several_records_add_up_and_an_event_counts_once(tmp_path: Path) -> None:
    one = written(tmp_path / "1", usage("chat", sequence=1), usage("chat", sequence=1))
    other = written(tmp_path / "2", usage("chat", sequence=2))

    assert read_totals([one, other, one]).events == 2


def test_an_undelivered_event_is_counted_apart(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r") as recorder:
        recorder.undelivered(usage("chat", sequence=1, output_tokens=9), TimeoutError("late"))

    totals = read_totals([tmp_path / "r"])

    assert (totals.tokens, totals.undelivered, totals.undelivered_tokens) == (0, 1, 9)


def test_a_line_is_in_the_file_before_the_record_is_closed(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r") as recorder:
        recorder.usage(usage("chat", sequence=1))

        assert read_totals([tmp_path / "r"]).events == 1


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "r", usage("chat", sequence=1), usage("chat", sequence=2))
    path.write_bytes(path.read_bytes()[:-10])

    assert read_totals([path]).events == 1


def test_a_file_that_is_no_record_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"kind":"other"}\n')

    with pytest.raises(TokenpoolsError, match="r:1: no line of a record"):
        list(read_lines(tmp_path / "r"))


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "r")

    with pytest.raises(FileExistsError):
        Recorder(path).__enter__()


@pytest.mark.parametrize(
    ("output_tokens", "expected"),
    [(0, 64), (1, 64), (64, 64), (65, 128), (128, 128), (129, 256), (1000, 1024)],
)
def test_a_client_asks_for_the_next_power_of_two(output_tokens: int, expected: int) -> None:
    assert max_tokens_for(output_tokens) == expected
