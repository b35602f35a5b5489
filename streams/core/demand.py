"""Demand: how much would each entitlement use if it could?

Throughput: what it is served or what its open requests will produce, whichever is more, plus what
was refused.  Held tokens are divided by a duration of their own, since long requests are
overrepresented among those that run.  KV cache and slots: what it holds plus what was refused.  A
refusal that came back at another admitter is withdrawn there and pending here until it lapses: the
sum takes it off.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.reports import EntitlementReport
from schemas.units import MS_PER_S, NOTHING, NOTHING_HELD, Held, Resources, ceil_div


class Local(msgspec.Struct, frozen=True, gc=False):
    """One entitlement at one admitter, as demand."""

    held: Held = NOTHING_HELD
    steady: Resources = NOTHING
    """What is held: tokens/s that it will produce, KV cache, slots."""
    pending: Resources = NOTHING
    withdrawn: Resources = NOTHING
    expected_duration_ms: int = 0


def local_of(report: EntitlementReport) -> Local:
    """Return one admitter's report on one entitlement as demand."""
    held = report.held
    return Local(
        held=held,
        steady=Resources(
            rate_of(
                held.tokens, duration_ms=report.held_duration_ms or report.expected_duration_ms
            ),
            held.kv_bytes,
            held.slots,
        ),
        pending=report.pending,
        withdrawn=report.withdrawn,
        expected_duration_ms=report.expected_duration_ms,
    )


def rate_of(tokens: int, *, duration_ms: int) -> int:
    """Return tokens/s, rounded up; 0 while no duration has been seen."""
    return ceil_div(tokens * MS_PER_S, duration_ms) if duration_ms > 0 else 0


def pending_of(parts: Sequence[Local]) -> Resources:
    """Return what was refused and has not come back elsewhere: at least nothing."""
    if not parts:
        return NOTHING
    tokens_per_s = kv_bytes = slots = 0
    for part in parts:
        asked, back = part.pending, part.withdrawn
        tokens_per_s += asked.tokens_per_s - back.tokens_per_s
        kv_bytes += asked.kv_bytes - back.kv_bytes
        slots += asked.slots - back.slots
    return Resources(max(0, tokens_per_s), max(0, kv_bytes), max(0, slots))


def demand_of(parts: Sequence[Local], *, served_tokens_per_s: int, orphaned: Held) -> Resources:
    """Return the demand over all admitters; ``orphaned`` is held by dead ones until it expires."""
    pending = pending_of(parts)
    producing = sum([part.steady.tokens_per_s for part in parts])
    return Resources(
        max(producing, served_tokens_per_s) + pending.tokens_per_s,
        orphaned.kv_bytes + sum([part.steady.kv_bytes for part in parts]) + pending.kv_bytes,
        orphaned.slots + sum([part.steady.slots for part in parts]) + pending.slots,
    )


def duration_of(parts: Sequence[Local]) -> int:
    """Return the mean expected duration in ms over the admitters that have seen one."""
    seen = [part.expected_duration_ms for part in parts if part.expected_duration_ms > 0]
    return sum(seen) // len(seen) if seen else 0
