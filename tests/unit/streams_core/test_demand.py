"""Demand: served or held, plus what was refused and has not come back."""

from __future__ import annotations

import pytest

from schemas.reports import EntitlementReport
from schemas.units import NOTHING, NOTHING_HELD, Held, Resources
from streams.core.demand import Local, demand_of, duration_of, local_of, pending_of, rate_of


def here(
    *, held: Held = NOTHING_HELD, pending: Resources = NOTHING, withdrawn: Resources = NOTHING
) -> Local:
    """Return one admitter's part, 8 s per request."""
    return local_of(
        EntitlementReport(
            entitlement="e",
            held=held,
            pending=pending,
            withdrawn=withdrawn,
            expected_duration_ms=8_000,
        )
    )


HELD = Held(tokens=1_000, kv_bytes=500, slots=2)
REFUSED = Resources(tokens_per_s=30, kv_bytes=100, slots=1)


def test_held_requests_are_demand_at_the_rate_that_they_will_produce() -> None:
    demand = demand_of([here(held=HELD)], served_tokens_per_s=0, orphaned=NOTHING_HELD)

    assert demand == Resources(tokens_per_s=125, kv_bytes=500, slots=2)


def test_what_is_served_counts_if_it_is_more() -> None:
    demand = demand_of([here(held=HELD)], served_tokens_per_s=200, orphaned=NOTHING_HELD)

    assert demand.tokens_per_s == 200


def test_refused_demand_is_added_in_every_dimension() -> None:
    demand = demand_of(
        [here(held=HELD), here(pending=REFUSED)], served_tokens_per_s=200, orphaned=NOTHING_HELD
    )

    assert demand == Resources(tokens_per_s=230, kv_bytes=600, slots=3)


def test_what_came_back_at_another_admitter_is_taken_off() -> None:
    assert pending_of([here(pending=REFUSED), here(withdrawn=REFUSED)]) == NOTHING


def test_more_withdrawn_than_pending_is_nothing_pending() -> None:
    assert pending_of([here(withdrawn=REFUSED)]) == NOTHING


def test_what_the_dead_hold_is_demand_in_kv_and_slots() -> None:
    demand = demand_of([], served_tokens_per_s=0, orphaned=HELD)

    assert demand == Resources(tokens_per_s=0, kv_bytes=500, slots=2)


@pytest.mark.parametrize(
    ("tokens", "duration_ms", "expected"),
    [
        pytest.param(1_000, 0, 0, id="no duration seen yet"),
        pytest.param(1, 8_000, 1, id="rounded up"),
        pytest.param(8_000, 8_000, 1_000, id="tokens per second"),
    ],
)
def test_rate(tokens: int, duration_ms: int, expected: int) -> None:
    assert rate_of(tokens, duration_ms=duration_ms) == expected


def test_the_expected_duration_is_the_mean_over_those_who_have_seen_one() -> None:
    assert duration_of([here(), Local(), Local(expected_duration_ms=4_000)]) == 6_000
