"""The paper's rule: five checks, and what settlements do to debt and weight."""

import pytest
from msgspec.structs import replace

from schemas.specs import EntitlementSpec, Qos, ServiceClass
from schemas.units import PPM, US_PER_S, TokenCounts
from simulation.policy import Ask, Denied, Granted
from simulation.rivals.paper_rule import (
    CONCURRENCY,
    INTERVAL_US,
    LOW_PRIORITY,
    TOKEN_BUDGET,
    PaperRule,
)
from tests.unit.simulation.worlds import PAPER_POOL, entitlement, pool


def ask(uid: str, number: int, *, tokens: int = 128) -> Ask:
    return Ask(request_id=f"{uid}-{number}", entitlement=uid, input_tokens=0, max_tokens=tokens)


def rule(slots: int = 16) -> PaperRule:
    policy = PaperRule(PAPER_POOL)
    policy.resize(ready=slots // 16, starting=0, draining=0, now_us=0)
    return policy


def reasons(policy: PaperRule, uid: str, numbers: range, *, tokens: int = 128) -> list[str]:
    """Ask for so many; return why each was refused, empty when admitted."""
    answers = [policy.reserve(ask(uid, each, tokens=tokens), door=0, now_us=0) for each in numbers]
    return [answer.reason if isinstance(answer, Denied) else "" for answer in answers]


def test_no_more_run_than_the_entitlement_s_concurrency() -> None:
    assert reasons(rule(), "guaranteed-a", range(7)) == [""] * 6 + [CONCURRENCY]


def test_the_token_budget_refuses_once_it_is_used_up() -> None:
    """10 s of 90 tokens/s; the request that passes it may start, the next may not."""
    assert reasons(rule(), "guaranteed-a", range(3), tokens=500) == ["", "", TOKEN_BUDGET]


def test_when_contended_the_weight_must_exceed_the_lowest_admitted_one() -> None:
    policy = rule()
    assert reasons(policy, "spot-b", range(10)) == [""] * 10
    assert reasons(policy, "guaranteed-a", range(6)) == [""] * 6

    assert reasons(policy, "guaranteed-c", range(6)) == [""] * 6
    policy.settle("spot-b-0", TokenCounts(), door=0, completed=True, now_us=0)
    assert reasons(policy, "spot-b", range(20, 21)) == [LOW_PRIORITY]


def test_equals_refuse_each_other_when_contended_even_inside_their_floor() -> None:
    """The paper's strict comparison: nobody of lower weight runs, so guaranteed is refused."""
    shrunken = PaperRule(PAPER_POOL)
    shrunken.resize(ready=0, starting=0, draining=0, now_us=0)
    first = shrunken.reserve(ask("guaranteed-a", 0), door=0, now_us=0)

    second = shrunken.reserve(ask("guaranteed-a", 1), door=0, now_us=0)

    assert isinstance(first, Granted)
    assert isinstance(second, Denied)
    assert (second.reason, second.inside_floor) == (LOW_PRIORITY, True)


def elastic(uid: str, *, slo_ms: int) -> EntitlementSpec:
    whole = entitlement(uid, ServiceClass.ELASTIC, slots=5)
    return replace(whole, qos=Qos(service_class=ServiceClass.ELASTIC, slo_target_ms=slo_ms))


FAIR_POOL = pool(
    elastic("copilot", slo_ms=500),
    elastic("synth", slo_ms=30_000),
    elastic("reports", slo_ms=5_000),
)


def test_the_paper_s_weights_of_experiment_2_until_reports_moves_the_average() -> None:
    policy = PaperRule(FAIR_POOL)
    policy.resize(ready=1, starting=0, draining=0, now_us=0)

    def weights(*joining: str) -> dict[str, float]:
        for uid in joining:
            policy.reserve(ask(uid, 0), door=0, now_us=0)
        return {uid: round(each.weight_ppm / PPM, 2) for uid, each in policy.priorities().items()}

    assert weights("copilot", "synth") == {"copilot": 93.85, "synth": 20.27, "reports": 60.4}
    assert weights("reports")["reports"] == 54.2


def test_a_newcomer_is_owed_nothing() -> None:
    policy = PaperRule(FAIR_POOL)

    policy.advance(now_us=10 * INTERVAL_US)

    assert {each.debt_ppm for each in policy.priorities().values()} == {0}


@pytest.mark.parametrize(
    ("tokens_per_s", "debt"),
    [
        pytest.param(0, 0.3004, id="idle earns debt: the paper's credit hoarding"),
        pytest.param(75, 0.0, id="its baseline owes nothing"),
        pytest.param(150, -0.3004, id="twice its baseline is a negative debt, unclamped"),
    ],
)
def test_one_interval_moves_the_debt_by_equation_2(tokens_per_s: int, debt: float) -> None:
    policy = PaperRule(FAIR_POOL)
    policy.resize(ready=1, starting=0, draining=0, now_us=0)
    policy.reserve(ask("synth", 0), door=0, now_us=0)
    policy.settle(
        "synth-0",
        TokenCounts(output_tokens=tokens_per_s * 5),
        door=0,
        completed=True,
        now_us=4 * US_PER_S,
    )

    policy.advance(now_us=INTERVAL_US)

    assert policy.priorities()["synth"].debt_ppm / PPM == pytest.approx(debt, abs=1e-4)


def test_sustained_use_above_the_baseline_turns_the_weight_negative() -> None:
    policy = PaperRule(FAIR_POOL)
    for interval in range(1, 20):
        handle = f"synth-{interval}"
        at_us = interval * INTERVAL_US
        policy.reserve(ask("synth", interval), door=0, now_us=at_us - 1)
        policy.settle(
            handle, TokenCounts(output_tokens=750), door=0, completed=True, now_us=at_us - 1
        )
        policy.advance(now_us=at_us)

    assert policy.priorities()["synth"].weight_ppm < 0
