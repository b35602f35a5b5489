"""Retry-After is when it is worth coming back, spread by the request's id."""

import pytest

from admission.core.retry import (
    RETRY_MS_MAX,
    RETRY_MS_MIN,
    wait_for_drain_ms,
    wait_for_slot_ms,
    with_jitter_ms,
)


@pytest.mark.parametrize(
    ("wait_us", "expected"),
    [
        pytest.param(1_500, 2, id="rounded up to milliseconds"),
        pytest.param(None, 2_000, id="two ticks when it never drains"),
    ],
)
def test_wait_for_drain(wait_us: int | None, expected: int) -> None:
    assert wait_for_drain_ms(wait_us, tick_ms=1_000) == expected


@pytest.mark.parametrize(
    ("mean_ms", "running", "expected"),
    [
        pytest.param(9_000, 3, 3_000, id="one of three ends three times as soon"),
        pytest.param(10, 3, 4, id="rounded up"),
        pytest.param(0, 3, 1_000, id="a tick when no duration is known"),
        pytest.param(9_000, 0, 1_000, id="a tick when nothing runs"),
    ],
)
def test_wait_for_slot(mean_ms: int, running: int, expected: int) -> None:
    assert wait_for_slot_ms(mean_ms, running=running, tick_ms=1_000) == expected


@pytest.mark.parametrize("wait_ms", [0, 1, 50, 1_000, 10**9])
def test_jitter_adds_at_most_a_quarter_within_the_bounds(wait_ms: int) -> None:
    bounded = min(max(wait_ms, RETRY_MS_MIN), RETRY_MS_MAX)
    waits = {with_jitter_ms(wait_ms, request_id=str(number)) for number in range(200)}

    assert min(waits) >= bounded
    assert max(waits) <= bounded + bounded // 4
    assert len(waits) > 1


def test_the_same_request_gets_the_same_jitter() -> None:
    assert with_jitter_ms(1_000, request_id="r") == with_jitter_ms(1_000, request_id="r")
