"""Fairness: gap, debt, burst and weight of every entitlement in this tick, by the pool's mode.

``default`` is ``streams.core.debt`` (integers, clamped, weights inside a class); ``paper`` is
``streams.core.paper``, whose figures leave here as integers like the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from schemas.pools import Entitlement, Pool
from schemas.specs import ServiceClass
from schemas.ticks import EntitlementInput, TickInputs
from schemas.units import AMOUNT_MAX, PPM, US_PER_MS, Ppm, Resources
from streams.core import debt, paper
from streams.core.debt import Ppt


class Fairness(msgspec.Struct, frozen=True, gc=False):
    """What one entitlement is owed, has had too much, and weighs."""

    gap: Ppm
    debt: Ppt
    burst: Ppt
    weight: Ppm
    """In ``mode: paper`` it may be 0 or negative."""


def fairness(pool: Pool, inputs: TickInputs, *, capacity: Resources) -> dict[str, Fairness]:
    """Return the fairness of each entitlement of the inputs."""
    rate = _paper if pool.policy.mode == "paper" else _default
    return rate(pool, inputs, capacity=capacity)


def tick_elapsed_us(pool: Pool, elapsed_us: int) -> int:
    """Return the length of the tick; a first tick, which has none, counts as a whole one."""
    return elapsed_us if elapsed_us > 0 else pool.policy.tick_ms * US_PER_MS


def _default(pool: Pool, inputs: TickInputs, *, capacity: Resources) -> dict[str, Fairness]:
    elapsed_us = tick_elapsed_us(pool, inputs.elapsed_us)
    debt_decay = debt.decay_over(elapsed_us, half_life_s=pool.policy.debt_half_life_seconds)
    burst_decay = debt.decay_over(elapsed_us, half_life_s=pool.policy.burst_half_life_seconds)
    alphas = debt.alphas_of(pool.policy)
    members = Counter(entitlement.service_class for entitlement in pool.entitlements.values())
    result = {}
    for item in inputs.entitlements:
        entitlement = pool.entitlements[item.entitlement]
        gap = debt.gap_of(
            served=item.served_tokens_per_s,
            pending=item.pending.tokens_per_s,
            baseline=entitlement.baseline.tokens_per_s,
        )
        reference = _reference(entitlement, capacity=capacity, members=members)
        excess = debt.excess_of(_use(item), baseline=reference)
        owed = debt.next_debt(debt.joined(item.debt_ppm, item.debt_rest), gap=gap, decay=debt_decay)
        burst = debt.next_burst(
            debt.joined(item.burst_ppm, item.burst_rest), excess=excess, decay=burst_decay
        )
        weight = debt.weight_of(
            slo_ms=entitlement.slo_ms,
            reference_slo_ms=pool.reference_slo_ms,
            debt=debt.parted(owed)[0],
            burst=debt.parted(burst)[0],
            alphas=alphas,
        )
        result[item.entitlement] = Fairness(gap, owed, burst, weight)
    return result


def _paper(pool: Pool, inputs: TickInputs, *, capacity: Resources) -> dict[str, Fairness]:
    del capacity  # nothing in the paper's fairness looks at it
    elapsed_us = tick_elapsed_us(pool, inputs.elapsed_us)
    debt_decay = paper.decay_over(elapsed_us, half_life_s=pool.policy.debt_half_life_seconds)
    burst_decay = paper.decay_over(elapsed_us, half_life_s=pool.policy.burst_half_life_seconds)
    average_ms = paper.average_slo_ms([each.slo_ms for each in pool.entitlements.values()])
    result = {}
    for item in inputs.entitlements:
        entitlement = pool.entitlements[item.entitlement]
        baseline = entitlement.baseline
        gap = paper.gap_of(served=item.served_tokens_per_s, baseline=baseline.tokens_per_s)
        excess = paper.excess_of(_use(item), baseline=baseline)
        owed = paper.faded(_ratio(item.debt_ppm, item.debt_rest), gap, decay=debt_decay)
        burst = paper.faded(_ratio(item.burst_ppm, item.burst_rest), excess, decay=burst_decay)
        weight = paper.weight_of(
            entitlement.service_class,
            slo_ms=entitlement.slo_ms,
            average_ms=average_ms,
            debt=owed,
            burst=burst,
            policy=pool.policy,
        )
        result[item.entitlement] = Fairness(
            gap=Ppm(_whole(gap, PPM)),
            debt=Ppt(_whole(owed, debt.TRILLION)),
            burst=Ppt(_whole(burst, debt.TRILLION)),
            weight=Ppm(_whole(weight, PPM)),
        )
    return result


def _ratio(ppm: int, rest: int) -> float:
    return debt.joined(ppm, rest) / debt.TRILLION


def _whole(ratio: float, scale: int) -> int:
    """Return the ratio in parts of ``scale``, to the nearest, within what a message may carry."""
    most = AMOUNT_MAX // PPM * scale // PPM
    return min(max(round(ratio * scale), -most), most)


def _use(item: EntitlementInput) -> Resources:
    return Resources(item.served_tokens_per_s, item.held.kv_bytes, item.held.slots)


def _reference(
    entitlement: Entitlement, *, capacity: Resources, members: Mapping[ServiceClass, int]
) -> Resources:
    """Return what burst is measured against: the baseline, else an even part of the pool."""
    service_class = entitlement.service_class
    if service_class.has_baseline:
        return entitlement.baseline
    return capacity.split(members[service_class]).at_most(entitlement.ceiling)
