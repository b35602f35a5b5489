"""The paper's printed weights of experiment 2, from its equations."""

from __future__ import annotations

import pytest

from simulation.experiments.literal import literal_weights


@pytest.mark.parametrize(
    ("what", "ours", "printed"),
    [
        ("copilot", 93.85, "93.8"),
        ("synth", 20.27, "20.3"),
        ("reports", 60.40, "60"),
        ("reports, with the mean of all three", 54.20, ""),
        ("copilot : synth", 4.63, "4.6"),
        ("synth at its highest debt", 83.09, "83.2"),
        ("copilot : synth at their highest debts", 3.87, "3.9"),
    ],
)
def test_the_weights_that_the_paper_prints(what: str, ours: float, printed: str) -> None:
    weights = {each.what: each for each in literal_weights()}

    assert weights[what].ours == pytest.approx(ours, abs=0.005)
    assert weights[what].printed == printed
