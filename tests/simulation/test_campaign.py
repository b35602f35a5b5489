"""No law is broken in any seed, and the same seed gives the same bytes.

A few seeds are tried with every test run, more in ``.ci/run``; ``make simulate`` runs a
thousand seeds.
"""

from __future__ import annotations

import pytest

from tests.simulation.campaign import Choice, main, tell, try_seed
from tests.simulation.cases import case_of
from tests.simulation.judged import judge, story_of

SEEDS = 4
JUDGED_WRONGLY = (
    (314, "harsh"),
    (416, "harsh"),
    (646, "harsh"),
    (579, "none"),
    (2053, "owners"),
    (2083, "owners"),
)
"""Late reports, a paused admitter; a floor that was away; floors that admitters did not know."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_law_is_broken(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = try_seed(seed, Choice())
    if found.failed:
        tell(found, Choice())

    assert not found.failed, capsys.readouterr().out
    assert found.steps > 0


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "faults"), JUDGED_WRONGLY)
def test_no_law_is_broken_where_the_judge_once_said_so(seed: int, faults: str) -> None:
    found = try_seed(seed, Choice(faults=faults))

    assert not found.failed, found
    assert found.steps > 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_ticks_totals_and_story() -> None:
    case = case_of(3, faults="harsh")

    assert judge(case).digest == judge(case).digest
    assert story_of(case).lines() == story_of(case).lines()


def test_a_fault_more_changes_no_arrival() -> None:
    calm, harsh = (case_of(4, faults=faults).scenario for faults in ("none", "harsh"))

    assert [*calm.arrivals()] == [*harsh.arrivals()]


def test_a_campaign_ends_with_what_it_ran(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--seeds", "2", "--first", "9", "--jobs", "1", "--faults", "none"])
    last = capsys.readouterr().out.splitlines()[-1]

    assert status == 0
    assert last.startswith("simulation: seeds=2 steps=")
    assert last.endswith(" laws_broken=0")
