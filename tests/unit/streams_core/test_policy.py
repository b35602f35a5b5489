"""Policy: statuses, debt over ticks, and that a tick replays from what it published."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.state import EntitlementStatus
from schemas.ticks import EntitlementInput, EntitlementOutput, TickInputs
from schemas.units import NOTHING, Held, Resources
from streams.core.policy import Decision, decide
from tests.unit.streams_core.pools import GIB, START_US, entitlement, pool_of, vector

GUARANTEED, ELASTIC, SPOT = ServiceClass.GUARANTEED, ServiceClass.ELASTIC, ServiceClass.SPOT
YEAR_2020 = "2020-01-01T00:00:00Z"
YEAR_2100 = "2100-01-01T00:00:00+01:00"


def decided(
    pool: Pool,
    inputs: Mapping[str, EntitlementInput] | None = None,
    *,
    replicas: int = 1,
    elapsed_us: int = 1_000_000,
) -> dict[str, Decision]:
    """Return the decisions on one tick, of a second if not told otherwise."""
    items = tuple(
        (inputs or {}).get(uid, EntitlementInput(entitlement=uid))
        for uid in sorted(pool.entitlements)
    )
    tick = TickInputs(
        at_us=START_US,
        elapsed_us=elapsed_us,
        spec_version=7,
        replicas_ready=replicas,
        per_replica=Resources(240, 16 * GIB, 16),
        entitlements=items,
    )
    return {item.output.entitlement: item for item in decide(pool, tick)}


@pytest.mark.parametrize(
    ("expires_at", "replicas", "status", "reason"),
    [
        pytest.param(None, 2, EntitlementStatus.BOUND, "", id="bound"),
        pytest.param(YEAR_2100, 2, EntitlementStatus.BOUND, "", id="not expired yet"),
        pytest.param(
            YEAR_2020, 2, EntitlementStatus.EXPIRED, f"expired at {YEAR_2020}", id="expired"
        ),
        pytest.param(None, 0, EntitlementStatus.PENDING, "no replica is ready", id="pending"),
        pytest.param(
            None,
            1,
            EntitlementStatus.DEGRADED,
            "floors exceed live capacity: throughput 240 of 300, "
            f"kv_cache {16 * GIB} of {20 * GIB}, concurrency 16 of 20",
            id="degraded",
        ),
    ],
)
def test_the_status_of_a_floor_of_20_slots(
    expires_at: str | None, replicas: int, status: EntitlementStatus, reason: str
) -> None:
    pool = pool_of(entitlement("g", GUARANTEED, 20, expires_at=expires_at), replicas=2)

    decision = decided(pool, replicas=replicas)["g"]

    assert (decision.output.status, decision.reason) == (status, reason)


def test_an_expired_entitlement_gets_nothing_and_leaves_its_floor_to_others() -> None:
    pool = pool_of(entitlement("g", GUARANTEED, 16, expires_at=YEAR_2020), entitlement("s", SPOT))
    asks = {uid: EntitlementInput(entitlement=uid, demand=vector(16)) for uid in ("g", "s")}

    decisions = decided(pool, asks)

    assert (decisions["g"].output.floor, decisions["g"].output.grant) == (NOTHING, NOTHING)
    assert decisions["s"].output.grant == vector(16)


def test_elastic_and_spot_are_not_degraded_by_floors_that_do_not_fit() -> None:
    pool = pool_of(entitlement("g", GUARANTEED, 20), entitlement("e", ELASTIC, 4), replicas=2)

    assert decided(pool)["e"].output.status is EntitlementStatus.BOUND


def test_an_underserved_elastic_is_owed_and_gets_more_of_the_next_tick() -> None:
    pool = pool_of(entitlement("a", ELASTIC, 16), entitlement("b", ELASTIC, 16), replicas=2)
    asks = {
        uid: EntitlementInput(
            entitlement=uid,
            demand=vector(16),
            served_tokens_per_s=served,
            pending=Resources(240 - served, 0, 0),
            debt_ppm=debt_ppm,
        )
        for uid, served, debt_ppm in (("a", 60, 400_000), ("b", 180, 0))
    }

    decisions = decided(pool, asks)
    a, b = decisions["a"].output, decisions["b"].output

    assert (a.gap_ppm, b.gap_ppm) == (750_000, 250_000)
    assert a.debt_ppm > b.debt_ppm > 0
    assert a.grant.slots > b.grant.slots
    assert a.grant.slots + b.grant.slots == 16
    assert decisions["a"].contended


def test_debt_and_burst_are_carried_to_the_millionth_of_a_ppm() -> None:
    """Four ticks of 250 ms and one of a second come to the same."""
    pool = pool_of(entitlement("e", ELASTIC, 4))

    def after(ticks: int) -> EntitlementOutput:
        item = EntitlementInput(
            entitlement="e",
            served_tokens_per_s=7,
            held=Held(0, 9 * GIB, 5),
            pending=Resources(40, 0, 0),
        )
        for _ in range(ticks):
            output = decided(pool, {"e": item}, elapsed_us=1_000_000 // ticks)["e"].output
            item = msgspec.structs.replace(
                item,
                debt_ppm=output.debt_ppm,
                debt_rest=output.debt_rest,
                burst_ppm=output.burst_ppm,
                burst_rest=output.burst_rest,
            )
        return output

    once, often = after(1), after(4)

    assert once.debt_ppm == often.debt_ppm > 0
    assert once.burst_ppm == often.burst_ppm > 0
    assert abs(once.debt_rest - often.debt_rest) <= 10
    assert abs(once.burst_rest - often.burst_rest) <= 10
    assert once.debt_rest
    assert once.burst_rest


def test_spot_has_no_debt_and_its_burst_is_measured_against_an_even_part() -> None:
    pool = pool_of(entitlement("s", SPOT), entitlement("t", SPOT))
    asks = {
        "s": EntitlementInput(
            entitlement="s", demand=vector(16), served_tokens_per_s=240, pending=vector(1)
        )
    }

    decisions = decided(pool, asks)

    assert decisions["s"].output.debt_ppm == 0
    assert decisions["s"].output.burst_ppm > decisions["t"].output.burst_ppm == 0


def test_nobody_is_contended_who_gets_what_it_may_have() -> None:
    pool = pool_of(entitlement("g", GUARANTEED, 4))

    assert not decided(pool, {"g": EntitlementInput(entitlement="g", demand=vector(9))})[
        "g"
    ].contended
