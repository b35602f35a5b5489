"""Scaling: how many replicas a pool should have, from its entitlements' demand.

``needed`` is the rule: per dimension the larger of ⌈Σ floors ÷ per-replica⌉ and ⌈(Σ dedicated +
Σ min(guaranteed demand, floor) + Σ min(elastic demand, baseline) + headroom) ÷ per-replica⌉; the
dimension that asks for most decides.  Spot and preemptible demand never adds a replica.
``decide`` turns it into an order: up at once, down only to the most that was needed within the
stabilisation window, in steps, with a cooldown between orders, within the spec's bounds.

Pure: the caller brings the time (microseconds, any epoch, never going back) and keeps ``Memory``.
A fresh ``Memory`` allows no order down until a whole window has been seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from schemas.pools import Entitlement, Pool, floors
from schemas.scaling import ScaleDirection
from schemas.specs import Scaling, ServiceClass
from schemas.units import NOTHING, PPM, US_PER_S, Dimension, Resources, ceil_div

NEEDS_MAX: Final = 4_096
"""Evaluations that a memory may keep; beyond it neighbours are merged to the larger."""


class Needed(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas that the demand asks for, and why."""

    replicas: int
    dimension: Dimension
    by_floors: bool
    """Whether the floors alone ask for as many."""
    demand: Resources
    """What was counted: dedicated, guaranteed up to floor, elastic up to baseline, headroom."""
    floors: Resources


class Need(msgspec.Struct, frozen=True):
    """What was needed at one evaluation."""

    at_us: int
    replicas: int


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool's next decision depends on."""

    started_us: int
    needs: tuple[Need, ...] = ()
    """Within the stabilisation window, oldest first."""
    ordered: int | None = None
    """The last order; it stands until another one is given."""
    changed_us: int | None = None
    """When it was given."""

    def standing(self, current: int) -> int:
        """Return the replicas that stand ordered; before the first order, those there are."""
        return current if self.ordered is None else self.ordered


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one evaluation."""

    desired: int
    direction: ScaleDirection
    reason: str


def needed(pool: Pool, demand: Mapping[str, Resources], *, per_replica: Resources) -> Needed:
    """Return the replicas that demand (by entitlement uid, refused demand included) asks for.

    ``per_replica`` is live; where it says nothing, the spec's holds.
    """
    entitlements = list(pool.entitlements.values())
    promised = floors(entitlements)
    counted = Resources(slots=max(pool.headroom_slots, pool.scaling.headroom_concurrency))
    for entitlement in entitlements:
        counted += counted_demand(entitlement, demand.get(entitlement.uid, NOTHING))
    one = measured(per_replica, spec=pool.per_replica)
    dimension = max(
        Dimension, key=lambda d: ceil_div(max(counted.of(d), promised.of(d)), one.of(d))
    )
    by_floors = ceil_div(promised.of(dimension), one.of(dimension))
    by_demand = ceil_div(counted.of(dimension), one.of(dimension))
    return Needed(
        replicas=max(by_floors, by_demand),
        dimension=dimension,
        by_floors=by_floors >= by_demand,
        demand=counted,
        floors=promised,
    )


def counted_demand(entitlement: Entitlement, demand: Resources) -> Resources:
    """Return the part of an entitlement's demand that replicas are bought for."""
    match entitlement.service_class:
        case ServiceClass.DEDICATED:
            return entitlement.floor
        case ServiceClass.GUARANTEED | ServiceClass.ELASTIC:
            return demand.at_most(entitlement.baseline)
        case ServiceClass.SPOT | ServiceClass.PREEMPTIBLE:
            return NOTHING


def measured(per_replica: Resources, *, spec: Resources) -> Resources:
    """Return what one replica holds: as measured, or as the spec says where nothing was."""
    return Resources(
        per_replica.tokens_per_s or spec.tokens_per_s,
        per_replica.kv_bytes or spec.kv_bytes,
        per_replica.slots or spec.slots,
    )


def decide(
    memory: Memory, need: Needed, *, pool: Pool, current: int, at_us: int
) -> tuple[Order, Memory]:
    """Return the order, and the memory for the next evaluation.

    ``current`` counts ready and starting replicas.  ``desired`` is a number of replicas, not a
    difference, and a hold repeats the standing order: nothing is ordered twice or taken back.
    """
    needs = _remember(memory.needs, Need(at_us, need.replicas), scaling=pool.scaling)
    target = _bounded(_stable(needs, memory, current, scaling=pool.scaling, at_us=at_us), pool)
    order = _order(memory, need, pool=pool, current=current, target=target, at_us=at_us)
    if order.direction is ScaleDirection.HOLD:
        return order, msgspec.structs.replace(memory, needs=needs)
    return order, msgspec.structs.replace(
        memory, needs=needs, ordered=order.desired, changed_us=at_us
    )


def quantile(values: Sequence[int], *, quantile_ppm: int) -> int:
    """Return the element at ⌊q·n⌋ of the sorted values (the last for q = 1); 0 for none.

    The same element as ClickHouse's ``arraySort(...)[intDiv(n * ppm, 1000000) + 1]``.
    """
    if not values:
        return 0
    return sorted(values)[min(len(values) * quantile_ppm // PPM, len(values) - 1)]


def quantiles(demands: Sequence[Resources], *, quantile_ppm: int) -> Resources:
    """Return the quantile of each dimension by itself."""
    return Resources(
        quantile([demand.tokens_per_s for demand in demands], quantile_ppm=quantile_ppm),
        quantile([demand.kv_bytes for demand in demands], quantile_ppm=quantile_ppm),
        quantile([demand.slots for demand in demands], quantile_ppm=quantile_ppm),
    )


def _remember(needs: tuple[Need, ...], need: Need, *, scaling: Scaling) -> tuple[Need, ...]:
    oldest_us = need.at_us - scaling.stabilization_seconds * US_PER_S
    kept = tuple(past for past in needs if past.at_us >= oldest_us)
    if len(kept) >= NEEDS_MAX:
        first, second = kept[:2]
        kept = (Need(second.at_us, max(first.replicas, second.replicas)), *kept[2:])
    return (*kept, need)


def _stable(
    needs: tuple[Need, ...], memory: Memory, current: int, *, scaling: Scaling, at_us: int
) -> int:
    """Return the most that was needed within the window; before a whole one, never below now."""
    most = max(need.replicas for need in needs)
    seen_us = at_us - memory.started_us
    whole = seen_us >= scaling.stabilization_seconds * US_PER_S
    return most if whole else max(most, current, memory.standing(current))


def _bounded(replicas: int, pool: Pool) -> int:
    return min(max(replicas, pool.replicas_min), pool.replicas_max)


def _order(
    memory: Memory, need: Needed, *, pool: Pool, current: int, target: int, at_us: int
) -> Order:
    scaling, standing = pool.scaling, memory.standing(current)
    cause = "floors" if need.by_floors else "demand"
    asked = f"{cause} of {need.dimension} need {need.replicas}"
    if not scaling.enabled:
        return _hold(standing, f"{asked}; scaling.enabled is false")
    if target == standing:
        return _hold(standing, asked + _why_other(need, pool=pool, target=target))
    if memory.changed_us is not None:
        left_us = memory.changed_us + scaling.cooldown_seconds * US_PER_S - at_us
        if left_us > 0:
            return _hold(standing, f"{asked}; cooldown for {ceil_div(left_us, US_PER_S)} s more")
    desired = min(max(target, current - scaling.step_max), current + scaling.step_max)
    if desired == standing:
        return _hold(standing, f"{asked}; {current} of {standing} are there")
    direction = ScaleDirection.UP if desired > standing else ScaleDirection.DOWN
    step = f"; at most {scaling.step_max} at once" if desired != target else ""
    return Order(
        desired=desired,
        direction=direction,
        reason=asked + _why_other(need, pool=pool, target=target) + step,
    )


def _hold(standing: int, reason: str) -> Order:
    return Order(desired=standing, direction=ScaleDirection.HOLD, reason=reason)


def _why_other(need: Needed, *, pool: Pool, target: int) -> str:
    """Say why the target is not what is needed."""
    if target == need.replicas:
        return ""
    if target == _bounded(need.replicas, pool):
        return f"; replicas are bounded to {pool.replicas_min} to {pool.replicas_max}"
    return f"; waits for {pool.scaling.stabilization_seconds} s of less demand"
