"""``mode: paper`` gives the figures that the paper prints, its pathologies included."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from schemas.pools import Pool
from schemas.specs import Policy, ServiceClass
from schemas.ticks import EntitlementInput, EntitlementOutput, TickInputs
from schemas.units import PPM, Held, Resources
from streams.core import paper
from streams.core.policy import decide
from tests.unit.streams_core.pools import GIB, START_US, entitlement, pool_of, vector

ELASTIC, GUARANTEED, SPOT = ServiceClass.ELASTIC, ServiceClass.GUARANTEED, ServiceClass.SPOT
STALE_MEAN_MS = 15_250.0
"""The mean of copilot and synth alone, which the paper also uses once reports has joined."""
SLOS_MS = {"copilot": 500, "synth": 30_000, "reports": 5_000}


def weight(name: str, *, average_ms: float = STALE_MEAN_MS, debt: float = 0.0) -> float:
    """Return the weight of one of the paper's elastic entitlements."""
    return paper.weight_of(
        ELASTIC, slo_ms=SLOS_MS[name], average_ms=average_ms, debt=debt, burst=0, policy=Policy()
    )


@pytest.mark.parametrize(
    ("name", "expected"), [("copilot", 93.85), ("synth", 20.27), ("reports", 60.40)]
)
def test_the_weights_of_experiment_2(name: str, expected: float) -> None:
    assert round(weight(name), 2) == expected


def test_with_the_true_mean_of_three_reports_weighs_54_2() -> None:
    average_ms = paper.average_slo_ms(list(SLOS_MS.values()))

    assert round(average_ms) == 11_833
    assert round(weight("reports", average_ms=average_ms), 1) == 54.2


def test_at_the_reported_peaks_the_gap_narrows_from_4_6_to_3_87() -> None:
    synth, copilot = weight("synth", debt=0.775), weight("copilot", debt=0.607)

    assert round(synth, 1) == 83.1
    assert round(weight("copilot") / weight("synth"), 2) == 4.63
    assert round(copilot / synth, 2) == 3.87


@pytest.mark.parametrize(
    ("debt", "expected"),
    [
        pytest.param(-0.25, 0, id="a quarter of over-service turns a weight off"),
        pytest.param(-1.0, -3 * 20.27, id="and twice the baseline makes it negative"),
    ],
)
def test_nothing_is_clamped(debt: float, expected: float) -> None:
    assert weight("synth", debt=debt) == pytest.approx(expected, rel=1e-3)


def test_classes_can_change_places_as_they_do_in_the_paper() -> None:
    loose = paper.weight_of(
        GUARANTEED, slo_ms=30_000, average_ms=STALE_MEAN_MS, debt=0, burst=0, policy=Policy()
    )

    assert round(loose, 1) == 202.7
    assert weight("copilot", debt=0.607) > loose


def test_burst_is_summed_over_the_dimensions() -> None:
    use = Resources(tokens_per_s=150, kv_bytes=300, slots=1)

    assert paper.excess_of(use, baseline=Resources(100, 200, 2)) == 1.0
    assert paper.excess_of(use, baseline=Resources()) == 0.0


def test_an_idle_entitlement_is_owed_its_whole_baseline() -> None:
    assert paper.gap_of(served=0, baseline=75) == 1.0
    assert paper.gap_of(served=150, baseline=75) == -1.0
    assert paper.gap_of(served=150, baseline=0) == 0.0


def test_gamma_is_the_paper_s_at_5_s() -> None:
    assert round(paper.decay_over(5_000_000, half_life_s=Decimal("9.7")), 2) == 0.7


def paper_pool(**slos_ms: int) -> Pool:
    """Return a pool of elastic entitlements of 5 slots in ``mode: paper``."""
    pool = pool_of(
        *(entitlement(name, ELASTIC, 5, slo_ms=slo_ms) for name, slo_ms in slos_ms.items())
    )
    return msgspec.structs.replace(pool, policy=Policy(mode="paper"))


def decided(pool: Pool, *items: EntitlementInput) -> dict[str, EntitlementOutput]:
    """Return what a tick of 5 s decides."""
    inputs = TickInputs(
        at_us=START_US,
        elapsed_us=5_000_000,
        spec_version=1,
        replicas_ready=1,
        per_replica=Resources(240, 16 * GIB, 16),
        entitlements=items,
    )
    return {each.output.entitlement: each.output for each in decide(pool, inputs)}


def met(uid: str, *, served: int = 75, debt_ppm: int = 0) -> EntitlementInput:
    """Return an entitlement that is served; 75 tokens/s is the baseline of 5 slots."""
    return EntitlementInput(
        entitlement=uid, served_tokens_per_s=served, debt_ppm=debt_ppm, demand=vector(16)
    )


def test_a_pool_in_mode_paper_publishes_the_paper_s_weights() -> None:
    outputs = decided(paper_pool(copilot=500, synth=30_000), met("copilot"), met("synth"))

    assert {uid: round(each.weight_ppm / PPM, 2) for uid, each in outputs.items()} == {
        "copilot": 93.85,
        "synth": 20.27,
    }


def test_a_pool_in_mode_default_does_not() -> None:
    pool = msgspec.structs.replace(paper_pool(copilot=500), policy=Policy())

    assert decided(pool, met("copilot"))["copilot"].weight_ppm == PPM // 2


def test_debt_and_burst_in_mode_paper_are_the_moving_averages_of_eq_2_and_3() -> None:
    item = EntitlementInput(
        entitlement="copilot",
        served_tokens_per_s=150,
        held=Held(tokens=0, kv_bytes=10 * GIB, slots=10),
        debt_ppm=500_000,
    )

    output = decided(paper_pool(copilot=500), item)["copilot"]

    assert output.gap_ppm == -PPM
    assert output.debt_ppm == pytest.approx(0.7 * 500_000 - 0.3 * PPM, rel=0.02)
    assert output.burst_ppm == pytest.approx(0.3 * 3 * PPM, rel=0.01)


def test_a_weight_below_0_is_published_and_fills_as_the_least_there_is() -> None:
    outputs = decided(
        paper_pool(copilot=500, synth=30_000),
        met("copilot", served=750, debt_ppm=-9 * PPM),
        met("synth"),
    )

    assert outputs["copilot"].weight_ppm < 0
    assert outputs["copilot"].grant.slots == 5, "the phase of the baselines needs no weight"
    assert outputs["synth"].grant.slots == 11
