"""Whole experiments on few seeds: what they promise, and that they do not depend on processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.errors import SpecError
from simulation.catalog import PAPER_1
from simulation.experiments.cases import WhatIf
from simulation.experiments.keys import ENTITLEMENT_KEYS, KEYS
from simulation.experiments.results import PANELS, ExperimentResult
from simulation.experiments.run import run_experiment, simulate
from simulation.experiments.setups import CROSS_CLASS
from simulation.experiments.sharing import Arrangement, sharing_table, sharing_traffic, thinned
from simulation.workloads import generate

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def cross_class() -> ExperimentResult:
    return run_experiment("paper-1", seeds=SEEDS)


def test_experiment_1_protects_the_guaranteed_tenants(cross_class: ExperimentResult) -> None:
    policies = cross_class.as_json()["policies"]
    ours, nobody = policies["token-pools"], policies["none"]

    assert ours["guaranteed_floor_refusals"] == 0
    assert ours["waiting_max"] <= 3
    assert nobody["waiting_max"] > 15
    assert ours["guaranteed_p99_ttft_s"] < nobody["guaranteed_p99_ttft_s"] / 5
    assert 0.3 < ours["spot_throttle_rate"] < 0.7
    assert nobody["spot_throttle_rate"] == 0


def test_every_printed_key_is_documented(cross_class: ExperimentResult) -> None:
    printed = cross_class.as_json()

    for policy, figures in printed["policies"].items():
        assert figures.keys() <= KEYS.keys()
        assert figures.keys() == printed["confidence_95"][policy].keys()
    for entitlements in printed["entitlements"].values():
        assert entitlements.keys() == CROSS_CLASS.pool.entitlements.keys()
        assert all(figures.keys() <= ENTITLEMENT_KEYS.keys() for figures in entitlements.values())
    for row in printed["paper"].values():
        assert row.keys() <= KEYS.keys()


def test_every_documented_key_is_printed_by_one_of_the_experiments(
    cross_class: ExperimentResult,
) -> None:
    fair_share = run_experiment("paper-2", seeds=(1,), policies=("token-pools",)).as_json()
    printed = set(cross_class.as_json()["policies"]["token-pools"])

    assert printed | set(fair_share["policies"]["token-pools"]) == KEYS.keys()


def test_a_median_lies_in_its_interval(cross_class: ExperimentResult) -> None:
    for result in cross_class.policies:
        for figure in result.figures.values():
            assert figure.low <= figure.median <= figure.high
            assert figure.runs == len(SEEDS)


def test_series_are_of_the_named_seed_and_of_known_panels(cross_class: ExperimentResult) -> None:
    assert cross_class.series_seed == SEEDS[0]
    assert all(result.series for result in cross_class.policies)
    for result in cross_class.policies:
        for line in result.series:
            assert line.panel in PANELS
            assert len(line.times_s) == len(line.values)


def test_the_result_is_the_same_whatever_the_number_of_processes(
    cross_class: ExperimentResult,
) -> None:
    ours = run_experiment("paper-1", seeds=SEEDS, policies=("token-pools",), jobs=2)

    assert ours.policies[0] == cross_class.policies[0]


def test_progress_counts_every_run() -> None:
    told: list[tuple[int, int]] = []

    run_experiment(
        "paper-1",
        seeds=(1, 2, 3),
        policies=("none", "windowed"),
        progress=lambda done, of: told.append((done, of)),
    )

    assert told == [(done, 6) for done in range(1, 7)]


def test_a_recorded_trace_gives_what_the_workload_gives() -> None:
    arrivals = tuple(generate(PAPER_1, seed=5))
    pool = CROSS_CLASS.pool

    recorded = simulate(WhatIf(pool=pool, traffic=arrivals), policies=("none",), seeds=(5,))
    drawn = simulate(WhatIf(pool=pool, traffic=PAPER_1), policies=("none",), seeds=(5,))

    assert recorded.policies[0].figures["waiting_max"] == drawn.policies[0].figures["waiting_max"]
    assert recorded.work.requests == drawn.work.requests == len(arrivals)


@pytest.mark.parametrize(
    ("name", "policies", "seeds", "said"),
    [
        pytest.param("paper-3", ("none",), (1,), "experiment", id="an experiment nobody made"),
        pytest.param("paper-1", ("nobody",), (1,), "policy", id="a policy nobody made"),
        pytest.param("paper-1", ("none",), (), "seeds", id="no seed at all"),
        pytest.param("paper-1", ("none",), (1, 1), "seeds", id="a seed twice"),
    ],
)
def test_a_wrong_question_names_what_is_wrong(
    name: str, policies: tuple[str, ...], seeds: tuple[int, ...], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        run_experiment(name, seeds=seeds, policies=policies)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_thinned_tenant_never_wants_more_than_its_floor(seed: int) -> None:
    ends_us: list[int] = []
    for arrival in sharing_traffic(6, seed=seed):
        if arrival.tenant == "guaranteed-a":
            ends_us = [end for end in ends_us if end > arrival.offset_us]
            ends_us.append(arrival.offset_us + 9_000_000)
            assert len(ends_us) <= 6


def test_thinning_leaves_the_others_alone() -> None:
    arrivals = list(generate(PAPER_1, seed=1))

    left = list(thinned(arrivals, "guaranteed-a", slots=1, residence_us=90_000_000))

    assert sum(arrival.tenant == "guaranteed-a" for arrival in left) == 1
    assert [a for a in left if a.tenant != "guaranteed-a"] == [
        a for a in arrivals if a.tenant != "guaranteed-a"
    ]


def rows() -> Iterator[Arrangement]:
    for admitters in (1, 2):
        yield Arrangement(floor_slots=6, admitters=admitters, has_homes=True, goes_home=True)
    yield Arrangement(floor_slots=6, admitters=2, has_homes=True, goes_home=False)


def test_a_floor_kept_at_its_home_is_found_by_who_goes_there_and_by_nobody_else() -> None:
    alone, pair, stubborn = sharing_table(seeds=(1,), arrangements=tuple(rows()))

    assert alone.exhausted_rate.median == alone.refused_rate.median == 0
    assert 0 < pair.exhausted_rate.median < 0.1
    assert pair.refused_rate.median == 0
    assert 0.3 < stubborn.refused_rate.median < 0.7
