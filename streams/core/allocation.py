"""Allocation: how much of the pool does each entitlement's demand get in this tick?

Phases in rank order, each a weighted max-min fill on demand (progressive filling: a level rises
and everyone receives weight × level until it is content or nothing is left):

    floors → elastic baselines → bursts of dedicated and elastic → spot → preemptible

A dedicated floor is set aside whole, a guaranteed one down to what may be lent of it.  In a
phase over baselines the weight counts per unit of baseline, so equal weights get equal parts of
what they were promised; without a baseline it counts alone.  Surplus classes leave the pool's
headroom of slots free.

A request needs all three dimensions, so the dimensions are coupled: they are filled from the most
contended to the least, and in each an entitlement asks for no more than what it got before can
use.  What a later dimension cuts is given back in the earlier ones and filled again, in at most
``ROUNDS_MAX`` rounds; what the last round frees is left over for the common share.

Integers: every grant is rounded down, leftover units go to the largest remainders.  Σ grants and
Σ floors never exceed capacity, in any dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.specs import ServiceClass
from schemas.units import Dimension, Resources, ceil_div
from streams.core.rounding import fill

ROUNDS_MAX: Final = 3


@dataclass(frozen=True)
class Claim:
    """What one entitlement asks for, and what it was promised."""

    uid: str
    service_class: ServiceClass
    weight_ppm: int
    demand: Resources
    baseline: Resources
    ceiling: Resources
    lendable: Resources


@dataclass(frozen=True)
class Award:
    """What one entitlement gets: its floor as far as it fits into live capacity, and its grant."""

    uid: str
    floor: Resources
    grant: Resources
    unlendable: Resources
    """The part of the floor that is set aside even while it is idle."""


@dataclass(frozen=True)
class _Column:
    """One dimension of all claims."""

    dimension: Dimension
    capacity: int
    reserve: int
    """Kept free of surplus classes."""
    wants: list[int]
    """Demand, at most the ceiling."""
    floors: list[int]
    unlendable: list[int]
    baselines: list[int]
    weights: list[int]


def allocate(
    claims: Sequence[Claim], *, capacity: Resources, headroom_slots: int = 0
) -> tuple[Award, ...]:
    """Return one award per claim, in their order."""
    columns = [
        _column(claims, dimension, capacity=capacity, headroom_slots=headroom_slots)
        for dimension in Dimension
    ]
    grants = _coupled(columns, [claim.service_class for claim in claims])
    floors = zip(*(column.floors for column in columns), strict=True)
    unlendable = zip(*(column.unlendable for column in columns), strict=True)
    return tuple(
        Award(claim.uid, Resources(*floor), Resources(*grant), Resources(*kept))
        for claim, floor, grant, kept in zip(
            claims, floors, zip(*grants, strict=True), unlendable, strict=True
        )
    )


def _column(
    claims: Sequence[Claim], dimension: Dimension, *, capacity: Resources, headroom_slots: int
) -> _Column:
    amount = capacity.of(dimension)
    baselines = [claim.baseline.of(dimension) for claim in claims]
    weights = [
        claim.weight_ppm * max(1, baseline)
        for claim, baseline in zip(claims, baselines, strict=True)
    ]
    floors = [
        baseline if claim.service_class.is_reserved else 0
        for claim, baseline in zip(claims, baselines, strict=True)
    ]
    floors = fill(floors, weights, amount)
    return _Column(
        dimension=dimension,
        capacity=amount,
        reserve=headroom_slots if dimension is Dimension.CONCURRENCY else 0,
        wants=[min(claim.demand.of(dimension), claim.ceiling.of(dimension)) for claim in claims],
        floors=floors,
        unlendable=[
            max(0, floor - claim.lendable.of(dimension))
            for claim, floor in zip(claims, floors, strict=True)
        ],
        baselines=baselines,
        weights=weights,
    )


def _coupled(columns: Sequence[_Column], classes: Sequence[ServiceClass]) -> list[list[int]]:
    """Return the grants per dimension (in the order of ``columns``), cut to what can be used."""
    asked = [list(column.wants) for column in columns]
    grants = asked
    for _ in range(ROUNDS_MAX):
        given = _one_round(columns, classes, asked)
        grants = _usable(columns, given)
        cut = False
        for caps, got, kept in zip(asked, given, grants, strict=True):
            for i, (before, after) in enumerate(zip(got, kept, strict=True)):
                if after < before:
                    caps[i], cut = after, True
        if not cut:
            break
    return grants


def _one_round(
    columns: Sequence[_Column], classes: Sequence[ServiceClass], asked: Sequence[list[int]]
) -> list[list[int]]:
    """Fill each dimension once, from the most contended to the least."""
    given: list[list[int]] = [[] for _ in columns]
    used = [(1, 1)] * len(classes)
    for index in _by_contention(columns, asked):
        column = columns[index]
        wants = [
            min(cap, ceil_div(want * got, of))
            for cap, want, (got, of) in zip(asked[index], column.wants, used, strict=True)
        ]
        given[index] = _phases(column, classes, wants)
        used = [
            _scarcer(ratio, (got, want))
            for ratio, got, want in zip(used, given[index], column.wants, strict=True)
        ]
    return given


def _usable(columns: Sequence[_Column], given: Sequence[list[int]]) -> list[list[int]]:
    """Cut each grant to what the entitlement's scarcest dimension can use, rounded up."""
    used = [(1, 1)] * len(given[0])
    for column, got in zip(columns, given, strict=True):
        used = [
            _scarcer(ratio, pair)
            for ratio, pair in zip(used, zip(got, column.wants, strict=True), strict=True)
        ]
    return [
        [
            min(amount, ceil_div(want * ratio[0], ratio[1]))
            for amount, want, ratio in zip(got, column.wants, used, strict=True)
        ]
        for column, got in zip(columns, given, strict=True)
    ]


def _by_contention(columns: Sequence[_Column], asked: Sequence[list[int]]) -> list[int]:
    """Return the columns' indexes, the largest demand per capacity first."""
    sums = [sum(wants) for wants in asked]
    scale = max(1, *(column.capacity for column in columns)) ** 2
    return sorted(
        range(len(columns)), key=lambda i: -(sums[i] * scale // max(1, columns[i].capacity))
    )


def _scarcer(ratio: tuple[int, int], pair: tuple[int, int]) -> tuple[int, int]:
    """Return the smaller of two ratios (got, wanted); a dimension nobody wants says nothing."""
    got, want = pair
    return pair if want > 0 and got * ratio[1] < ratio[0] * want else ratio


def _phases(column: _Column, classes: Sequence[ServiceClass], wants: list[int]) -> list[int]:
    """Return the grants of one dimension, phase after phase."""
    grants = [min(want, floor) for want, floor in zip(wants, column.floors, strict=True)]
    left = column.capacity - sum(
        max(grant, kept) for grant, kept in zip(grants, column.unlendable, strict=True)
    )
    elastic = [ServiceClass.ELASTIC]
    bursting = [ServiceClass.DEDICATED, ServiceClass.ELASTIC]
    for members, caps, reserve in (
        (elastic, column.baselines, 0),
        (bursting, wants, 0),
        ([ServiceClass.SPOT], wants, column.reserve),
        ([ServiceClass.PREEMPTIBLE], wants, column.reserve),
    ):
        who = [i for i, service_class in enumerate(classes) if service_class in members]
        more = [max(0, min(wants[i], caps[i]) - grants[i]) for i in who]
        given = fill(more, [column.weights[i] for i in who], max(0, left - reserve))
        for i, amount in zip(who, given, strict=True):
            grants[i] += amount
        left -= sum(given)
    return grants
