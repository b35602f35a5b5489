"""The estimator learns a tenant's outputs and durations within bounds."""

import pytest

from admission.core.estimator import (
    SAMPLES_MAX,
    SAMPLES_MIN,
    TARGET_PPM,
    EstimateRecord,
    HeldDuration,
    MeanDuration,
    OutputEstimator,
    bucket_of,
    upper_edge,
)


def learned(*outputs: int) -> OutputEstimator:
    """An estimator that has seen these, its level where it began."""
    estimator = OutputEstimator()
    for output in outputs:
        estimator.observe(output, covered=True)
    estimator.level_ppm = TARGET_PPM
    return estimator


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        pytest.param([], 500, id="nothing seen: what it may produce at most"),
        pytest.param([10] * (SAMPLES_MIN - 1), 500, id="too few seen: the same"),
        pytest.param([10] * SAMPLES_MIN, 10, id="enough seen: what it produces"),
        pytest.param([10] * 80 + [400] * 20, 10, id="80 % are enough"),
        pytest.param([10] * 79 + [400] * 21, 415, id="a bucket's upper edge, not below"),
        pytest.param([9_000] * SAMPLES_MIN, 500, id="never more than max_tokens"),
    ],
)
def test_expected_output(outputs: list[int], expected: int) -> None:
    assert learned(*outputs).expect(500) == expected


@pytest.mark.parametrize("tokens", [0, 1, 15, 16, 17, 31, 32, 100, 1_000, 4_095, 4_096, 10**7])
def test_a_value_is_never_underestimated_and_overestimated_by_less_than_an_eighth(
    tokens: int,
) -> None:
    edge = upper_edge(bucket_of(tokens))

    assert tokens <= edge <= tokens + tokens // 8


def test_it_follows_a_tenant_that_changes_and_stays_bounded() -> None:
    estimator = learned(*[1_000] * SAMPLES_MAX, *[10] * (8 * SAMPLES_MAX))

    assert estimator.expect(5_000) == 10
    assert estimator.samples < SAMPLES_MAX


def test_misses_raise_the_level_until_the_estimate_is_all_it_may_produce() -> None:
    estimator = learned(*[10] * SAMPLES_MIN)
    estimates = []
    for _ in range(20):
        estimator.observe(300, covered=False)
        estimates.append(estimator.expect(500))

    assert estimates[-1] == 500
    assert estimates == sorted(estimates)


def test_one_miss_weighs_as_much_as_four_that_were_covered() -> None:
    estimator = learned(*[10] * SAMPLES_MIN)
    for covered in (False, True, True, True, True):
        estimator.observe(10, covered=covered)

    assert estimator.level_ppm == TARGET_PPM


def test_the_record_tells_too_much_from_too_little() -> None:
    record = EstimateRecord()
    enough = [record.observe(estimate=100, actual=actual) for actual in (100, 40, 130)]

    assert enough == [True, True, False]
    assert (record.seen, record.covered) == (3, 2)
    assert (record.over_tokens, record.under_tokens) == (60, 30)
    assert record.buckets == [0, 0, 0, 1, 1, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        pytest.param([], 0, id="nothing seen"),
        pytest.param([800], 800, id="the first is the mean"),
        pytest.param([800, 1_600], 900, id="the next counts an eighth"),
        pytest.param([800, 0], 700, id="downward as well"),
        pytest.param([0], 1, id="never below a millisecond"),
    ],
)
def test_mean_duration(durations: list[int], expected: int) -> None:
    mean = MeanDuration()
    for duration in durations:
        mean.observe(duration)

    assert mean.mean_ms == expected


def test_held_tokens_over_their_duration_are_what_requests_really_produce() -> None:
    """One slot, short and long requests in turn at 100 tokens/s: 200 tokens/s for two slots.

    At an instant a slot holds the long request 9 times as often as the short one.
    """
    held = HeldDuration()
    for _ in range(200):
        held.observe(1_000, reserved_tokens=100, used_tokens=100)
        held.observe(9_000, reserved_tokens=900, used_tokens=900)

    tokens_of_two_slots = 2 * (9 * 900 + 1 * 100) // 10
    rate = tokens_of_two_slots * 1_000 // held.mean_ms

    assert 190 <= rate <= 210


def test_reserving_more_than_is_used_does_not_raise_the_rate() -> None:
    held = HeldDuration()
    for _ in range(100):
        held.observe(2_000, reserved_tokens=400, used_tokens=200)

    assert 400 * 1_000 // held.mean_ms == 100


def test_nothing_seen_yet_is_no_held_duration() -> None:
    assert HeldDuration().mean_ms == 0
