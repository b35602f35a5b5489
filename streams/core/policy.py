"""Policy: what does one tick give to whom?  A pure function of the inputs that it publishes.

``decide`` reads ``TickInputs`` and the spec and nothing else, so a tick on the topic ``ticks``
replays to the same outputs (law 9), and another policy can be tried on the same inputs.
How the outputs are then split over admitters is ``streams.core.shares``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.instants import micros_of
from schemas.pools import Entitlement, Pool
from schemas.specs import ServiceClass
from schemas.state import EntitlementStatus
from schemas.ticks import EntitlementInput, EntitlementOutput, Tick, TickInputs
from schemas.units import NOTHING, US_PER_MS, Dimension, Ppm, Resources
from streams.core.allocation import Award, Claim, allocate
from streams.core.debt import (
    decay_over,
    excess_of,
    gap_of,
    next_burst,
    next_debt,
    weight_of,
)


@dataclass(frozen=True)
class Decision:
    """What one tick decided on one entitlement."""

    output: EntitlementOutput
    reason: str
    """Why it is not Bound; "" when it is."""
    unlendable: Resources
    contended: bool
    """Whether it got less than it could use."""


@dataclass(frozen=True)
class _Fairness:
    gap: Ppm
    debt: Ppm
    burst: Ppm
    weight: Ppm


def decide(pool: Pool, inputs: TickInputs) -> tuple[Decision, ...]:
    """Return one decision per entitlement, in the order of ``inputs.entitlements``."""
    capacity = inputs.per_replica.times(inputs.replicas_ready)
    fairness = _fairness(pool, inputs, capacity=capacity)
    expired = {
        item.entitlement
        for item in inputs.entitlements
        if _has_expired(pool.entitlements[item.entitlement], at_us=inputs.at_us)
    }
    claims = [
        _claim(pool.entitlements[item.entitlement], item, weight=fairness[item.entitlement].weight)
        for item in inputs.entitlements
        if item.entitlement not in expired
    ]
    awards = {
        award.uid: award
        for award in allocate(claims, capacity=capacity, headroom_slots=pool.headroom_slots)
    }
    return tuple(
        _decision(
            pool.entitlements[item.entitlement],
            item,
            award=awards.get(item.entitlement),
            fairness=fairness[item.entitlement],
            capacity=capacity,
        )
        for item in inputs.entitlements
    )


def replay(pool: Pool, tick: Tick) -> tuple[EntitlementOutput, ...]:
    """Return the outputs of a published tick, from its inputs and the spec that it names."""
    assert tick.inputs.spec_digest in ("", pool.digest)
    return tuple(decision.output for decision in decide(pool, tick.inputs))


def tick_elapsed_us(pool: Pool, elapsed_us: int) -> int:
    """Return the length of the tick; a first tick, which has none, counts as a whole one."""
    return elapsed_us if elapsed_us > 0 else pool.policy.tick_ms * US_PER_MS


def _fairness(pool: Pool, inputs: TickInputs, *, capacity: Resources) -> dict[str, _Fairness]:
    elapsed_us = tick_elapsed_us(pool, inputs.elapsed_us)
    debt_decay = decay_over(elapsed_us, half_life_s=pool.policy.debt_half_life_seconds)
    burst_decay = decay_over(elapsed_us, half_life_s=pool.policy.burst_half_life_seconds)
    members = Counter(entitlement.service_class for entitlement in pool.entitlements.values())
    result = {}
    for item in inputs.entitlements:
        entitlement = pool.entitlements[item.entitlement]
        gap = gap_of(
            served=item.served_tokens_per_s,
            pending=item.pending.tokens_per_s,
            baseline=entitlement.baseline.tokens_per_s,
        )
        excess = excess_of(
            Resources(item.served_tokens_per_s, item.held.kv_bytes, item.held.slots),
            baseline=_reference(entitlement, capacity=capacity, members=members),
        )
        debt = next_debt(Ppm(item.debt_ppm), gap=gap, decay=debt_decay)
        burst = next_burst(Ppm(item.burst_ppm), excess=excess, decay=burst_decay)
        weight = weight_of(
            slo_ms=entitlement.slo_ms,
            reference_slo_ms=pool.reference_slo_ms,
            debt=debt,
            burst=burst,
            policy=pool.policy,
        )
        result[item.entitlement] = _Fairness(gap, debt, burst, weight)
    return result


def _reference(
    entitlement: Entitlement, *, capacity: Resources, members: Mapping[ServiceClass, int]
) -> Resources:
    """Return what burst is measured against: the baseline, else an even part of the pool."""
    service_class = entitlement.service_class
    if service_class.has_baseline:
        return entitlement.baseline
    return capacity.split(members[service_class]).at_most(entitlement.ceiling)


def _has_expired(entitlement: Entitlement, *, at_us: int) -> bool:
    return entitlement.expires_at is not None and micros_of(entitlement.expires_at) <= at_us


def _claim(entitlement: Entitlement, item: EntitlementInput, *, weight: Ppm) -> Claim:
    return Claim(
        uid=entitlement.uid,
        service_class=entitlement.service_class,
        weight_ppm=weight,
        demand=item.demand,
        baseline=entitlement.baseline,
        ceiling=entitlement.ceiling,
        lendable=entitlement.lendable,
    )


def _decision(
    entitlement: Entitlement,
    item: EntitlementInput,
    *,
    award: Award | None,
    fairness: _Fairness,
    capacity: Resources,
) -> Decision:
    floor = NOTHING if award is None else award.floor
    grant = NOTHING if award is None else award.grant
    status, reason = _status(entitlement, award=award, capacity=capacity)
    output = EntitlementOutput(
        entitlement=entitlement.uid,
        tenant=entitlement.tenant,
        service_class=entitlement.service_class,
        status=status,
        floor=floor,
        grant=grant,
        gap_ppm=fairness.gap,
        debt_ppm=fairness.debt,
        burst_ppm=fairness.burst,
        weight_ppm=fairness.weight,
    )
    usable = item.demand.at_most(entitlement.ceiling)
    return Decision(
        output=output,
        reason=reason,
        unlendable=NOTHING if award is None else award.unlendable,
        contended=award is not None and not grant.covers(usable),
    )


def _status(
    entitlement: Entitlement, *, award: Award | None, capacity: Resources
) -> tuple[EntitlementStatus, str]:
    if award is None:
        return EntitlementStatus.EXPIRED, f"expired at {entitlement.expires_at}"
    if 0 in (capacity.tokens_per_s, capacity.kv_bytes, capacity.slots):
        return EntitlementStatus.PENDING, "no replica is ready"
    short = [
        f"{dimension} {award.floor.of(dimension)} of {entitlement.floor.of(dimension)}"
        for dimension in Dimension
        if award.floor.of(dimension) < entitlement.floor.of(dimension)
    ]
    if short:
        return EntitlementStatus.DEGRADED, f"floors exceed live capacity: {', '.join(short)}"
    return EntitlementStatus.BOUND, ""
