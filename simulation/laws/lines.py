"""Lines: one tick as plain triples of integers, which the laws on grants read.

A triple is (tokens/s, bytes of KV cache, slots).  What the tick says of itself is taken from its
inputs and outputs; what was promised is taken from the spec alone, never from the allocator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.state import EntitlementStatus
from schemas.ticks import Tick
from schemas.units import Held, Resources

Triple = tuple[int, int, int]
TRIPLE_NAMES: Final = ("tokens/s", "bytes of KV cache", "slots")
SLOTS: Final = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One entitlement in one tick."""

    uid: str
    service_class: ServiceClass
    want: Triple
    """Its demand as the tick saw it, at most its ceiling."""
    baseline: Triple
    ceiling: Triple
    floor: Triple
    grant: Triple
    kept: Triple
    """What is set aside of the floor even while it is idle."""

    def within(self, cap: Triple, *, up: bool = False) -> Triple:
        """Return what it can use of its demand within ``cap``, rounded down (or up).

        A request needs all three dimensions: who may have a tenth of the tokens that it wants can
        use a tenth of the slots.
        """
        got, of = 1, 1
        for want, most_of in zip(self.want, cap, strict=True):
            if most_of * of < got * want:
                got, of = most_of, want
        more = of - 1 if up else 0
        tokens_per_s, kv_bytes, slots = self.want
        return (
            (tokens_per_s * got + more) // of,
            (kv_bytes * got + more) // of,
            (slots * got + more) // of,
        )

    def short_of(self, cap: Triple) -> list[int]:
        """Return the dimensions in which it has less than it can use within ``cap``.

        None unless it is short by more than a fraction of a unit in one of them.
        """
        grant, least_due = self.grant, self.within(cap)
        if grant[0] >= least_due[0] and grant[1] >= least_due[1] and grant[2] >= least_due[2]:
            return []
        most_due = self.within(cap, up=True)
        return [i for i in range(3) if grant[i] < most_due[i]]


def lines_of(pool: Pool, tick: Tick) -> list[Line]:
    """Return the entitlements that are served in this tick; an expired one has no claim."""
    return [
        _line(pool, item.entitlement, item.demand, output.floor, output.grant)
        for item, output in zip(tick.inputs.entitlements, tick.outputs, strict=True)
        if output.status is not EntitlementStatus.EXPIRED
    ]


def _line(pool: Pool, uid: str, demand: Resources, floor: Resources, grant: Resources) -> Line:
    spec = pool.entitlements[uid]
    ceiling, lendable, floor_now = triple(spec.ceiling), triple(spec.lendable), triple(floor)
    return Line(
        uid=uid,
        service_class=spec.service_class,
        want=least(triple(demand), ceiling),
        baseline=triple(spec.baseline),
        ceiling=ceiling,
        floor=floor_now,
        grant=triple(grant),
        kept=less(floor_now, lendable),
    )


def triple(amount: Resources) -> Triple:
    """Return the three dimensions."""
    return amount.tokens_per_s, amount.kv_bytes, amount.slots


def stock(held: Held) -> Triple:
    """Return what is held, where throughput is never held."""
    return 0, held.kv_bytes, held.slots


def least(one: Triple, other: Triple) -> Triple:
    """Return the smaller in each dimension."""
    return min(one[0], other[0]), min(one[1], other[1]), min(one[2], other[2])


def most(one: Triple, other: Triple) -> Triple:
    """Return the larger in each dimension."""
    return max(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2])


def plus(one: Triple, other: Triple) -> Triple:
    """Return the sum."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def less(one: Triple, other: Triple) -> Triple:
    """Return the difference, nothing where it would be negative."""
    return max(0, one[0] - other[0]), max(0, one[1] - other[1]), max(0, one[2] - other[2])


def total(amounts: Sequence[Triple]) -> Triple:
    """Return the sum of all."""
    result = (0, 0, 0)
    for amount in amounts:
        result = plus(result, amount)
    return result
