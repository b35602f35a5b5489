"""Workloads: the same seed gives the same arrivals, and rates and variations are what they say."""

import math
import random
import statistics
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.catalog import DEFAULT_SEED, SCENE, STEADY, WORKLOADS
from simulation.gaps import GapFamily, draw_gap
from simulation.lengths import Histogram, LogNormal, draw_length, exactly
from simulation.workloads import TenantStream, Workload, generate, phases

NAMES = sorted(WORKLOADS)


def stream(tenant: str, *rates: tuple[int, int, int]) -> TenantStream:
    return TenantStream(
        tenant=tenant, phases=phases(*rates), input_tokens=exactly(10), output_tokens=exactly(20)
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_arrivals(name: str) -> None:
    workload = WORKLOADS[name]

    assert list(generate(workload, seed=7)) == list(generate(workload, seed=7))
    assert list(generate(workload, seed=7)) != list(generate(workload, seed=8))


@pytest.mark.parametrize("name", NAMES)
def test_arrivals_are_in_order_and_inside_the_workload(name: str) -> None:
    workload = WORKLOADS[name]
    arrivals = list(generate(workload, seed=DEFAULT_SEED))

    assert all(one.offset_us <= other.offset_us for one, other in pairwise(arrivals))
    assert arrivals[-1].offset_us < workload.duration_s * 1_000_000
    assert {arrival.tenant for arrival in arrivals} == set(workload.tenants)


def test_one_tenant_more_does_not_change_the_others() -> None:
    alone = Workload(name="w", about="", duration_s=10, streams=(stream("a", (0, 10, 2_000)),))
    both = Workload(
        name="w",
        about="",
        duration_s=10,
        streams=(stream("a", (0, 10, 2_000)), stream("b", (0, 10, 2_000))),
    )

    kept = [arrival for arrival in generate(both, seed=1) if arrival.tenant == "a"]

    assert kept == list(generate(alone, seed=1))


def test_a_silent_phase_is_silent_and_the_others_have_their_rates() -> None:
    workload = Workload(
        name="w",
        about="",
        duration_s=900,
        streams=(stream("a", (0, 300, 1_000), (300, 600, 0), (600, 900, 4_000)),),
    )

    at_s = [arrival.offset_us // 1_000_000 for arrival in generate(workload, seed=3)]

    assert 240 < sum(at < 300 for at in at_s) < 360
    assert not [at for at in at_s if 300 <= at < 600]
    assert 1_080 < sum(at >= 600 for at in at_s) < 1_320


@pytest.mark.parametrize("family", [GapFamily.GAMMA, GapFamily.WEIBULL])
@pytest.mark.parametrize("cv_percent", [30, 100, 250])
def test_gaps_have_mean_1_and_the_variation_asked_for(family: GapFamily, cv_percent: int) -> None:
    rng = random.Random(1)
    gaps = [draw_gap(family, cv_percent, rng) for _ in range(40_000)]

    mean = statistics.fmean(gaps)
    assert math.isclose(mean, 1, abs_tol=0.05)
    assert math.isclose(statistics.pstdev(gaps) / mean, cv_percent / 100, rel_tol=0.1)


@given(st.integers(0, 1 << 30), st.integers(1, 5_000), st.integers(0, 200))
def test_lengths_stay_inside_their_bounds(seed: int, median: int, sigma_percent: int) -> None:
    rng = random.Random(seed)
    lengths = LogNormal(median=median, sigma_percent=sigma_percent, low=5, high=2_000)

    assert 5 <= draw_length(lengths, rng) <= 2_000
    assert draw_length(Histogram(buckets=((1, 9, 1), (10, 20, 3))), rng) in range(1, 21)


def test_the_scene_is_short_enough_for_a_minute() -> None:
    assert SCENE.duration_s <= 45


@given(speed_ppm=st.integers(100_000, 100_000_000), seed=st.integers(0, 9))
def test_speed_moves_the_same_requests_closer_together(speed_ppm: int, seed: int) -> None:
    calm = list(generate(STEADY, seed=seed))
    quick = replace(STEADY, speed_ppm=speed_ppm)

    drawn = list(generate(quick, seed=seed))

    assert [each.offset_us for each in drawn] == [
        each.offset_us * 1_000_000 // speed_ppm for each in calm
    ]
    assert sorted((each.tenant, each.input_tokens, each.output_tokens) for each in drawn) == sorted(
        (each.tenant, each.input_tokens, each.output_tokens) for each in calm
    )
    assert all(each.offset_us <= quick.duration_us for each in drawn)
