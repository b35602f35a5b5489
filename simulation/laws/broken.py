"""Broken laws: what a check answers when a law does not hold.

A law that holds answers nothing.  The sentence is for a person: it names who, the amounts and the
limit that they should have kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LAWS: Final = {
    1: "exact count",
    2: "no over-promise",
    3: "floor",
    4: "order",
    5: "fairness",
    6: "work conserving",
    7: "reversible",
    8: "stale-safe",
    9: "deterministic",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """One law that did not hold."""

    law: int
    name: str
    """Of the check: a law has several."""
    sentence: str

    def __str__(self) -> str:
        return f"law {self.law} ({LAWS[self.law]}), {self.name}: {self.sentence}"
