"""The paper's printed weights of experiment 2, from its equations."""

from __future__ import annotations

import pytest

from simulation.experiments.literal import literal_weights


@pytest.mark.parametrize(
    ("name", "ours", "printed"),
    [
        ("copilot", 93.85, "93.8"),
        ("synth", 20.27, "20.3"),
        ("reports", 60.40, "60"),
        ("reports_true_mean", 54.20, ""),
        ("copilot_to_synth", 4.63, "4.6"),
        ("synth_at_peak", 83.09, "83.2"),
        ("copilot_to_synth_at_peak", 3.87, "3.9"),
    ],
)
def test_the_weights_that_the_paper_prints(name: str, ours: float, printed: str) -> None:
    weights = {each.name: each for each in literal_weights()}

    assert weights[name].ours == pytest.approx(ours, abs=0.005)
    assert weights[name].printed == printed
