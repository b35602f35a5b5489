"""Arrivals: requests as a trace or a generator names them, before anybody is asked to serve them.

Offsets are microseconds from the start of the trace or workload and never go back.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request: when it comes, who sends it, and how many tokens it will turn out to need."""

    offset_us: int
    tenant: str
    """Empty where the source names none."""
    model: str = ""
    input_tokens: int
    output_tokens: int
    """What the engine will really produce; the client does not know it beforehand."""
