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
    """One line of the table: what eq. (1) gives, and what the paper prints."""

    what: str
    ours: float
    printed: str


def literal_weights() -> tuple[LiteralWeight, ...]:
    """Return the paper's weights, calculated."""
    early = average_slo_ms([SLOS_MS["copilot"], SLOS_MS["synth"]])
    everyone = average_slo_ms(list(SLOS_MS.values()))
    copilot, synth = _weight("copilot", early), _weight("synth", early)
    peak_copilot = _weight("copilot", early, debt=DEBT_PEAKS["copilot"])
    peak_synth = _weight("synth", early, debt=DEBT_PEAKS["synth"])
    return (
        LiteralWeight(what="copilot", ours=copilot, printed="93.8"),
        LiteralWeight(what="synth", ours=synth, printed="20.3"),
        LiteralWeight(what="reports", ours=_weight("reports", early), printed="60"),
        LiteralWeight(
            what="reports, with the mean of all three",
            ours=_weight("reports", everyone),
            printed="",
        ),
        LiteralWeight(what="copilot : synth", ours=copilot / synth, printed="4.6"),
        LiteralWeight(what="synth at its highest debt", ours=peak_synth, printed="83.2"),
        LiteralWeight(
            what="copilot : synth at their highest debts",
            ours=peak_copilot / peak_synth,
            printed="3.9",
        ),
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
