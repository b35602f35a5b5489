"""The bucket drains continuously and never gives a burst away."""

import pytest

from admission.core.bucket import Bucket
from schemas.units import US_PER_S


def bucket(*, rate: int = 100, level: int = 0) -> Bucket:
    """A bucket of ten seconds."""
    return Bucket(rate=rate, depth_s=10, level_utok=level * US_PER_S)


@pytest.mark.parametrize(
    ("level", "admits"),
    [
        pytest.param(0, True, id="an empty bucket admits"),
        pytest.param(999, True, id="one below its depth admits, whatever the size"),
        pytest.param(1_000, False, id="a full one does not"),
        pytest.param(5_000, False, id="nor one that was overshot"),
    ],
)
def test_it_admits_while_the_level_is_below_the_depth(level: int, admits: bool) -> None:
    assert bucket(level=level).admits(0) is admits


@pytest.mark.parametrize(
    ("level", "after_us", "expected"),
    [
        pytest.param(50, 500_000, 0, id="half a second drains half its rate"),
        pytest.param(51, 500_000, 1, id="what is left is rounded up"),
        pytest.param(51, 0, 51, id="no time drains nothing"),
        pytest.param(51, -5, 51, id="a clock that goes back drains nothing"),
        pytest.param(50, 10_000_000, 0, id="it is never below empty"),
        pytest.param(1, 1, 1, id="a microsecond drains a ten-thousandth of a token"),
    ],
)
def test_it_drains_with_time(level: int, after_us: int, expected: int) -> None:
    assert bucket(level=level).level_tokens(after_us) == expected


def test_the_wait_is_exactly_until_it_admits_again() -> None:
    full = bucket(level=1_234)
    wait_us = full.wait_us(0)

    assert wait_us is not None
    assert not full.admits(wait_us - 1)
    assert full.admits(wait_us)


def test_a_bucket_without_a_rate_never_admits_and_has_no_wait() -> None:
    empty = bucket(rate=0)

    assert not empty.admits(10**12)
    assert empty.wait_us(10**12) is None


@pytest.mark.parametrize(
    ("before", "level", "after", "expected"),
    [
        pytest.param(0, 0, 100, 1_000, id="a first share arrives with a full bucket"),
        pytest.param(100, 300, 200, 1_300, id="a raise leaves free what was free"),
        pytest.param(100, 800, 50, 300, id="a cut leaves free what was free"),
        pytest.param(100, 100, 50, 0, id="a cut below what was free leaves it empty"),
        pytest.param(100, 0, 0, 0, id="a share that is gone holds nothing"),
    ],
)
def test_a_changed_rate_creates_no_burst(
    before: int, level: int, after: int, expected: int
) -> None:
    changed = bucket(rate=before, level=level)
    changed.reshape(after, depth_s=10, now_us=0)

    assert changed.level_tokens(0) == expected


def test_taking_back_more_than_is_charged_leaves_it_empty() -> None:
    charged = bucket(level=10)
    charged.charge(-25, now_us=0)

    assert charged.level_utok == 0
