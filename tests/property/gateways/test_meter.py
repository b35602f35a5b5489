"""The meter: increments add up, follow each other, and exactly one is final."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.gateways.meter import Meter
from admission.gateways.routing import Admitters
from schemas.reservations import Reservation
from schemas.specs import ServiceClass
from schemas.units import NO_TOKENS, TokenCounts
from schemas.usage import UsageData, check_data

RESERVATION = Reservation(
    reservation_id="r",
    pool="chat",
    entitlement="copilot",
    tenant="acme",
    model="m",
    service_class=ServiceClass.ELASTIC,
    served_class=ServiceClass.SPOT,
    demoted=True,
    reserved_tokens=1,
    kv_bytes=1,
    slots=1,
    max_tokens=1,
    renew_in_ms=1,
    expires_in_ms=1,
    admitter_url="u",
)
steps = st.lists(
    st.tuples(st.integers(-5, 5_000_000), st.integers(0, 500), st.integers(0, 500), st.booleans()),
    max_size=20,
)


@given(steps)
def test_increments_add_up_to_the_counts(taken: list[tuple[int, int, int, bool]]) -> None:
    meter = Meter(RESERVATION, requested_us=5, attributes={"a": "b"})
    now_us = 1_000
    meter.began(now_us)
    increments: list[UsageData] = []
    total = NO_TOKENS
    for step_us, input_tokens, output_tokens, emits in taken:
        now_us += step_us
        total += TokenCounts(input_tokens=input_tokens, output_tokens=output_tokens)
        meter.report(total)
        if emits and (increment := meter.partial(now_us)) is not None:
            increments.append(increment)
    increments.append(meter.final(now_us, outcome="ok"))

    emitted = NO_TOKENS
    until_us = 1_000
    for increment in increments:
        check_data(increment)
        assert increment.start_us == until_us
        emitted, until_us = emitted + increment.counts, increment.end_us
    assert emitted == total
    assert [increment.final for increment in increments] == [False] * (len(increments) - 1) + [True]


def test_an_increment_says_whose_it_is_and_how_it_was_served() -> None:
    meter = Meter(RESERVATION, requested_us=5, attributes={"user": "u1"})
    meter.began(10)
    meter.first_token(12)
    meter.first_token(15)
    meter.report(TokenCounts(output_tokens=3))

    data = meter.final(20, outcome="evicted")

    assert (data.pool, data.entitlement, data.tenant) == ("chat", "copilot", "acme")
    assert (data.served_class, data.demoted) == (ServiceClass.SPOT, True)
    assert (data.requested_us, data.start_us, data.first_token_us, data.end_us) == (5, 10, 12, 20)
    assert (data.outcome, data.attributes) == ("evicted", {"user": "u1"})


def test_usage_that_falls_is_refused() -> None:
    meter = Meter(RESERVATION, requested_us=5, attributes={})
    meter.report(TokenCounts(output_tokens=3))

    with pytest.raises(ValueError, match="usage fell"):
        meter.report(TokenCounts(output_tokens=2))


def test_admitters_are_asked_in_turn_and_silent_ones_last() -> None:
    admitters = Admitters(["a", "b/", "c"], suspect_ms=100)

    turns = [admitters.order(now_ms=0)[0] for _ in range(3)]
    admitters.failed("b", now_ms=0)

    assert sorted(turns) == ["a", "b", "c"]
    assert [admitters.order(now_ms=50)[-1] for _ in range(3)] == ["b", "b", "b"]
    assert {admitters.order(now_ms=100)[0] for _ in range(3)} == {"a", "b", "c"}


def test_an_admitter_that_answers_is_trusted_at_once() -> None:
    admitters = Admitters(["a", "b"], suspect_ms=100)
    admitters.failed("a", now_ms=0)

    admitters.answered("a")

    assert {admitters.order(now_ms=1)[0] for _ in range(2)} == {"a", "b"}
