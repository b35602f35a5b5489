"""Literal: the paper's printed weights of experiment 2, from its eq. (1) letter by letter.

The paper prints 93.8, 20.3 and "about 60" for its three tenants, then 83.2 for synth at its
highest debt and a gap to copilot that narrows from 4.6 to 3.9.  The first three need the average
SLO of copilot and synth alone; with reports, which is there as well, its weight is 54.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.specs import Policy, ServiceClass
from streams.core.paper import average_slo_ms, weight_of

SLOS_MS: Final = {"copilot": 500, "synth": 30_000, "reports": 5_000}
DEBT_PEAKS: Final = {"copilot": 0.607, "synth": 0.775, "reports": 0.414}
"""As the paper's table 2 reports them."""


@dataclass(frozen=True, kw_only=True)
class LiteralWeight:
    """One weight or ratio of weights: what eq. (1) gives, and what the paper prints."""

    name: str
    meaning: str
    ours: float
    printed: str
    """Empty where the paper does not print it."""


def literal_weights() -> tuple[LiteralWeight, ...]:
    """Return the paper's weights, calculated."""
    early = average_slo_ms([SLOS_MS["copilot"], SLOS_MS["synth"]])
    everyone = average_slo_ms(list(SLOS_MS.values()))
    copilot, synth = _weight("copilot", early), _weight("synth", early)
    owed_copilot = _weight("copilot", early, debt=DEBT_PEAKS["copilot"])
    owed_synth = _weight("synth", early, debt=DEBT_PEAKS["synth"])
    late = _weight("reports", everyone)
    lines = (
        ("copilot", "weight without debt", copilot, "93.8"),
        ("synth", "weight without debt", synth, "20.3"),
        (
            "reports",
            "weight without debt, mean SLO of the two before it",
            _weight("reports", early),
            "60",
        ),
        ("reports_true_mean", "the same with the mean SLO of all three", late, ""),
        ("copilot_to_synth", "ratio without debt", copilot / synth, "4.6"),
        ("synth_at_peak", "weight at its highest debt, 0.775", owed_synth, "83.2"),
        (
            "copilot_to_synth_at_peak",
            "ratio at the highest debts",
            owed_copilot / owed_synth,
            "3.9",
        ),
    )
    return tuple(
        LiteralWeight(name=name, meaning=meaning, ours=ours, printed=printed)
        for name, meaning, ours, printed in lines
    )


def _weight(tenant: str, average_ms: float, *, debt: float = 0.0) -> float:
    return weight_of(
        ServiceClass.ELASTIC,
        slo_ms=SLOS_MS[tenant],
        average_ms=average_ms,
        debt=debt,
        burst=0.0,
        policy=Policy(),
    )
