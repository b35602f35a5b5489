"""Allocation: how much of the pool does each entitlement's demand get in this tick?

Phases in rank order, each a weighted max-min fill on demand (progressive filling: a level rises
and everyone receives weight × level until it is content or nothing is left):

    floors → elastic baselines → bursts of dedicated and elastic → spot → preemptible

A dedicated floor is set aside whole, a guaranteed one down to what may be lent of it.  Where floors
do not fit they are scaled by weight, and what others leave of them is filled up to the reserved
baselines before any elastic gets something.  In a phase over baselines the weight counts per unit
of baseline, so equal weights get equal parts of what they were promised; without a baseline it
counts alone.  Surplus classes leave the pool's headroom of slots free.

*One dimension.*  The level only rises, and a demand is met when the level reaches want ÷ weight.
Each demand is met once, so the filling ends, with every unmet demand at one common level and
nothing left.  Nobody's grant can then be raised without lowering that of somebody whose grant per
weight is no larger: the weighted max-min point, and there is only one.

*Three dimensions* (``streams.core.coupling``).  A request needs all of them, so within a phase they
are filled together, from the most contended to the least; in each an entitlement asks for no more
than what its scarcest dimension so far can use, and at the end of a round every grant is cut to
what the scarcest of all can use.  A cut lowers what is asked in that dimension, never below what an
earlier phase gave, and nothing raises it again: integers that only fall come to rest, and
``ROUNDS_MAX`` stops before that where it would take longer.  Every fill gives out at most the room
there is and cuts only take away, so no round grants more than capacity, whichever is the last.

*What rounds leave.*  Cuts of the last round may leave room in all dimensions of somebody's demand.
So each phase ends with a pass that raises whoever is short, the heaviest first, as far as its
scarcest dimension has room.  After it, everyone who is short in its last phase has a dimension with
no room (law 6), and since later phases only take what is left, it stays so; nor does a later phase
get what an earlier one could have used (laws 4 and 5).

Integers: every grant is rounded down, leftover units go to the largest remainders.  Σ grants and
Σ floors never exceed capacity, in any dimension.  A round is O(n log n), and a phase in which
everything fits is one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.specs import ServiceClass
from schemas.units import Resources
from streams.core.coupling import Line, share, smaller
from streams.core.rounding import fill

_RESERVED: Final = (ServiceClass.DEDICATED, ServiceClass.GUARANTEED)
_BURSTING: Final = (ServiceClass.DEDICATED, ServiceClass.ELASTIC)


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What one entitlement asks for, and what it was promised."""

    uid: str
    service_class: ServiceClass
    weight_ppm: int
    demand: Resources
    baseline: Resources
    ceiling: Resources
    lendable: Resources


class Award(msgspec.Struct, frozen=True, gc=False):
    """What one entitlement gets: its floor as far as it fits into live capacity, and its grant."""

    uid: str
    floor: Resources
    grant: Resources
    unlendable: Resources
    """The part of the floor that is set aside even while it is idle."""


@dataclass
class _Column:
    """One dimension of all claims; only ``grants`` and ``left`` change."""

    wants: list[int]
    """Demand, at most the ceiling."""
    floors: list[int]
    kept: list[int]
    """The part of the floor that is not lent: its owner's without asking."""
    baselines: Sequence[int]
    grants: list[int]
    left: int
    """Capacity less Σ max(grant, kept)."""
    headroom: int

    def room(self, *, is_surplus: bool) -> int:
        """Return what a phase may still give out."""
        return max(0, self.left - (self.headroom if is_surplus else 0))


def allocate(
    claims: Sequence[Claim], *, capacity: Resources, headroom_slots: int = 0
) -> tuple[Award, ...]:
    """Return one award per claim, in their order."""
    weights = [claim.weight_ppm for claim in claims]
    members: dict[ServiceClass, list[int]] = {each: [] for each in ServiceClass}
    for i, claim in enumerate(claims):
        members[claim.service_class].append(i)
    reserved = sorted(i for each in _RESERVED for i in members[each])
    columns = [
        _column(*vectors, amount=amount, reserved=reserved, weights=weights)
        for *vectors, amount in zip(
            _turned([claim.demand for claim in claims]),
            _turned([claim.ceiling for claim in claims]),
            _turned([claim.baseline for claim in claims]),
            _turned([claims[i].lendable for i in reserved]),
            (capacity.tokens_per_s, capacity.kv_bytes, capacity.slots),
            strict=True,
        )
    ]
    columns[-1].headroom = headroom_slots
    for who, caps, is_surplus in _phases(columns, members, reserved=reserved):
        _serve(columns, who, caps, weights=weights, is_surplus=is_surplus)
    floors, grants, kept = (
        map(Resources, *(getattr(column, name) for column in columns))
        for name in ("floors", "grants", "kept")
    )
    uids = [claim.uid for claim in claims]
    return tuple(map(Award, uids, floors, grants, kept))


def _turned(vectors: Sequence[Resources]) -> Sequence[Sequence[int]]:
    """Return the dimensions of the vectors, each as one column."""
    return [
        [vector.tokens_per_s for vector in vectors],
        [vector.kv_bytes for vector in vectors],
        [vector.slots for vector in vectors],
    ]


def _column(
    demands: Sequence[int],
    ceilings: Sequence[int],
    baselines: Sequence[int],
    lendable: Sequence[int],
    *,
    amount: int,
    reserved: Sequence[int],
    weights: Sequence[int],
) -> _Column:
    """Return one dimension of the claims; ``lendable`` is of the reserved ones alone."""
    floors, kept = [0] * len(demands), [0] * len(demands)
    fitting = [baselines[i] for i in reserved]
    if sum(fitting) > amount:
        fitting = fill(fitting, _per_unit(reserved, weights, baselines), amount)
    for i, floor, lent in zip(reserved, fitting, lendable, strict=True):
        floors[i] = floor
        if lent < floor:
            kept[i] = floor - lent
    return _Column(
        wants=smaller(demands, ceilings),
        floors=floors,
        kept=kept,
        baselines=baselines,
        grants=[0] * len(demands),
        left=amount - sum(kept),
        headroom=0,
    )


def _per_unit(who: Sequence[int], weights: Sequence[int], baselines: Sequence[int]) -> list[int]:
    """Return the weights times what was promised, for those to whom something was."""
    return [weights[i] * (baselines[i] or 1) for i in who]


def _phases(
    columns: Sequence[_Column],
    members: dict[ServiceClass, list[int]],
    *,
    reserved: list[int],
) -> Iterator[tuple[Sequence[int], Sequence[Sequence[int]], bool]]:
    """Yield members, their caps per dimension, and whether they leave the headroom free."""
    wants = [column.wants for column in columns]
    baselines = [column.baselines for column in columns]
    bursting = sorted(i for each in _BURSTING for i in members[each])
    floors = [column.floors for column in columns]
    scaled: set[int] = set()
    for column in columns:
        floor, baseline = column.floors, column.baselines
        scaled.update([i for i in reserved if floor[i] < baseline[i]])
    yield reserved, floors, False
    yield sorted(scaled), baselines, False
    yield members[ServiceClass.ELASTIC], baselines, False
    yield bursting, wants, False
    yield members[ServiceClass.SPOT], wants, True
    yield members[ServiceClass.PREEMPTIBLE], wants, True


def _serve(
    columns: Sequence[_Column],
    who: Sequence[int],
    caps: Sequence[Sequence[int]],
    *,
    weights: Sequence[int],
    is_surplus: bool,
) -> None:
    """Raise the grants of one phase's members, at most to ``caps``, all dimensions together."""
    unmet: set[int] = set()
    stuck: set[int] = set()
    for column, most in zip(columns, caps, strict=True):
        grants, wants, kept = column.grants, column.wants, column.kept
        unmet.update([i for i in who if most[i] > grants[i] < wants[i]])
        if column.room(is_surplus=is_surplus) == 0:
            stuck.update([i for i in who if grants[i] == 0 == kept[i] and wants[i]])
    unmet -= stuck
    if not unmet:
        return
    who = sorted(unmet)
    lines = [
        _line(column, who, most, weights=weights, is_surplus=is_surplus)
        for column, most in zip(columns, caps, strict=True)
    ]
    share(lines, weights=[weights[i] for i in who])
    for column, line in zip(columns, lines, strict=True):
        column.left -= line.spent
        for i, got in zip(who, line.got, strict=True):
            column.grants[i] = got


def _line(
    column: _Column,
    who: Sequence[int],
    caps: Sequence[int],
    *,
    weights: Sequence[int],
    is_surplus: bool,
) -> Line:
    grants, kept = column.grants, column.kept
    wants = [column.wants[i] for i in who]
    most = smaller(wants, [caps[i] for i in who])
    return Line(
        room=column.room(is_surplus=is_surplus),
        wants=wants,
        base=[grants[i] if grants[i] > kept[i] else kept[i] for i in who],
        caps=most,
        weights=lambda: _per_unit(who, weights, column.baselines),
        asked=list(most),
    )
