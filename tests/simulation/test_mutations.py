"""Every mutation of a production function is noticed, by a law that forbids what it does."""

from __future__ import annotations

import pytest

from streams.core import debt
from tests.simulation.judged import judge
from tests.simulation.mutations import MUTATIONS, Mutation, case_for, caught
from tests.simulation.rewriting import Edit, TextGoneError, rewritten


@pytest.mark.slow
@pytest.mark.parametrize("mutation", [pytest.param(each, id=each.name) for each in MUTATIONS])
def test_a_law_notices(mutation: Mutation) -> None:
    found = caught(mutation)

    assert found is not None, f"survived: {mutation.name}"
    print(f"{mutation.name}: seed={found.seed} step={found.step}: {found.broken}")
    assert found.broken.law in mutation.laws
    assert not judge(case_for(mutation, found.seed), until_us=found.until_us).broken


def test_nothing_stays_mutated() -> None:
    before = debt.next_debt
    with rewritten([Edit("streams.core.debt:next_debt", "owed = ", "owed = 1 + ")]):
        assert debt.next_debt is not before

    assert debt.next_debt is before


def test_a_mutation_of_text_that_is_gone_is_refused() -> None:
    gone = Edit("streams.core.debt:next_debt", "no such text", "")

    with pytest.raises(TextGoneError, match="no such text"), rewritten([gone]):
        pass


def test_every_law_has_a_mutation() -> None:
    assert {law for mutation in MUTATIONS for law in mutation.laws} == set(range(1, 10))
