"""Policy: what does one tick give to whom?  A pure function of the inputs that it publishes.

``decide`` reads ``TickInputs`` and the spec and nothing else, so a tick on the topic ``ticks``
replays to the same outputs (law 9), and another policy can be tried on the same inputs.
How the outputs are then split over admitters is ``streams.core.shares``.
"""

from __future__ import annotations

import msgspec

from schemas.instants import micros_of
from schemas.pools import Entitlement, Pool
from schemas.state import EntitlementStatus
from schemas.ticks import EntitlementInput, EntitlementOutput, Tick, TickInputs
from schemas.units import NOTHING, Dimension, Ppm, Resources
from streams.core.allocation import Award, Claim, allocate
from streams.core.debt import WEIGHT_MIN, parted
from streams.core.fairness import Fairness, fairness


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What one tick decided on one entitlement."""

    output: EntitlementOutput
    reason: str
    """Why it is not Bound; "" when it is."""
    unlendable: Resources
    lendable: Resources
    """The most of its granted parts that admitters may lend while they are idle."""
    contended: bool
    """Whether it got less than it could use."""


def decide(pool: Pool, inputs: TickInputs) -> tuple[Decision, ...]:
    """Return one decision per entitlement, in the order of ``inputs.entitlements``."""
    capacity = inputs.per_replica.times(inputs.replicas_ready)
    rated = fairness(pool, inputs, capacity=capacity)
    expired = {
        item.entitlement
        for item in inputs.entitlements
        if _has_expired(pool.entitlements[item.entitlement], at_us=inputs.at_us)
    }
    claims = [
        _claim(pool.entitlements[item.entitlement], item, weight=rated[item.entitlement].weight)
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
            rated=rated[item.entitlement],
            capacity=capacity,
        )
        for item in inputs.entitlements
    )


def replay(pool: Pool, tick: Tick) -> tuple[EntitlementOutput, ...]:
    """Return the outputs of a published tick, from its inputs and the spec that it names."""
    assert tick.inputs.spec_digest in ("", pool.digest)
    return tuple(decision.output for decision in decide(pool, tick.inputs))


def _has_expired(entitlement: Entitlement, *, at_us: int) -> bool:
    return entitlement.expires_at is not None and micros_of(entitlement.expires_at) <= at_us


def _claim(entitlement: Entitlement, item: EntitlementInput, *, weight: Ppm) -> Claim:
    return Claim(
        uid=entitlement.uid,
        service_class=entitlement.service_class,
        weight_ppm=max(weight, WEIGHT_MIN),
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
    rated: Fairness,
    capacity: Resources,
) -> Decision:
    floor = NOTHING if award is None else award.floor
    grant = NOTHING if award is None else award.grant
    status, reason = _status(entitlement, award=award, capacity=capacity)
    debt_ppm, debt_rest = parted(rated.debt)
    burst_ppm, burst_rest = parted(rated.burst)
    output = EntitlementOutput(
        entitlement=entitlement.uid,
        tenant=entitlement.tenant,
        service_class=entitlement.service_class,
        status=status,
        floor=floor,
        grant=grant,
        gap_ppm=rated.gap,
        debt_ppm=debt_ppm,
        debt_rest=debt_rest,
        burst_ppm=burst_ppm,
        burst_rest=burst_rest,
        weight_ppm=rated.weight,
    )
    usable = item.demand.at_most(entitlement.ceiling)
    return Decision(
        output=output,
        reason=reason,
        unlendable=NOTHING if award is None else award.unlendable,
        lendable=entitlement.lendable,
        contended=award is not None and not grant.covers(usable),
    )


def _status(
    entitlement: Entitlement, *, award: Award | None, capacity: Resources
) -> tuple[EntitlementStatus, str]:
    if award is None:
        return EntitlementStatus.EXPIRED, f"expired at {entitlement.expires_at}"
    if 0 in (capacity.tokens_per_s, capacity.kv_bytes, capacity.slots):
        return EntitlementStatus.PENDING, "no replica is ready"
    promised = entitlement.floor
    if award.floor == promised:
        return EntitlementStatus.BOUND, ""
    short = [
        f"{dimension} {award.floor.of(dimension)} of {promised.of(dimension)}"
        for dimension in Dimension
        if award.floor.of(dimension) < promised.of(dimension)
    ]
    return EntitlementStatus.DEGRADED, f"floors exceed live capacity: {', '.join(short)}"
