"""Laws 2, 4, 5 and 6 on what one fill grants, for any claims."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.specs import ServiceClass
from schemas.units import AMOUNT_MAX, NOTHING, Dimension, Resources
from streams.core.allocation import Award, Claim, allocate
from streams.core.rounding import apportion, fill

ELASTIC, SPOT, PREEMPTIBLE = ServiceClass.ELASTIC, ServiceClass.SPOT, ServiceClass.PREEMPTIBLE

sizes = st.one_of(st.integers(0, 20), st.integers(0, 10**6), st.just(AMOUNT_MAX))
vectors = st.builds(Resources, sizes, sizes, sizes)
slot_vectors = st.builds(Resources, st.just(0), st.just(0), st.integers(0, 20))
weights = st.integers(1, 5_000_000)


@st.composite
def claims(draw: st.DrawFn, *, one_dimension: bool = False) -> Claim:
    """Return a claim as a spec allows it; demands beyond every ceiling included."""
    service_class = draw(st.sampled_from(ServiceClass))
    amounts = slot_vectors if one_dimension else vectors
    baseline = draw(amounts) if service_class.has_baseline else NOTHING
    demand = draw(amounts)
    guaranteed = service_class is ServiceClass.GUARANTEED
    return Claim(
        uid="",
        service_class=service_class,
        weight_ppm=draw(weights),
        demand=demand,
        baseline=baseline,
        ceiling=baseline if guaranteed else draw(amounts).at_least(baseline),
        lendable=draw(amounts).at_most(baseline) if guaranteed else NOTHING,
    )


lists = st.lists(claims(), max_size=12)
slot_lists = st.lists(claims(one_dimension=True), max_size=12)
Pairs = list[tuple[Claim, Award]]


def pairs(asked: list[Claim], *, capacity: Resources, headroom: int = 0) -> Pairs:
    """Return claims with their awards."""
    awards = allocate(asked, capacity=capacity, headroom_slots=headroom)
    return list(zip(asked, awards, strict=True))


def wanted(claim: Claim) -> Resources:
    """Return what it could use at all."""
    return claim.demand.at_most(claim.ceiling)


def withheld(award: Award) -> Resources:
    """Return what the pool sets aside for it."""
    return award.grant.at_least(award.unlendable)


@given(asked=lists, capacity=vectors, headroom=st.integers(0, 30))
def test_neither_grants_nor_floors_nor_what_is_set_aside_exceed_capacity(
    asked: list[Claim], capacity: Resources, headroom: int
) -> None:
    grants = floors = aside = NOTHING
    for _, award in pairs(asked, capacity=capacity, headroom=headroom):
        grants, floors, aside = (
            grants + award.grant,
            floors + award.floor,
            aside + withheld(award),
        )

    assert capacity.covers(grants)
    assert capacity.covers(floors)
    assert capacity.covers(aside)


@given(asked=lists, capacity=vectors)
def test_nobody_gets_more_than_it_asks_for_or_may_have(
    asked: list[Claim], capacity: Resources
) -> None:
    assert all(
        wanted(claim).covers(award.grant) and award.grant.covers(NOTHING)
        for claim, award in pairs(asked, capacity=capacity)
    )


@given(asked=lists, capacity=vectors)
def test_floors_are_whole_where_they_fit_and_nothing_is_left_of_capacity_where_not(
    asked: list[Claim], capacity: Resources
) -> None:
    result = pairs(asked, capacity=capacity)

    for dimension in Dimension:
        promised = [
            claim.baseline.of(dimension) if claim.service_class.is_reserved else 0
            for claim, _ in result
        ]
        given_floors = [award.floor.of(dimension) for _, award in result]
        room = capacity.of(dimension)
        assert given_floors == promised or sum(given_floors) == room < sum(promised)


@given(asked=slot_lists, capacity=st.integers(0, 60))
def test_a_reserved_demand_inside_its_floor_is_always_granted(
    asked: list[Claim], capacity: int
) -> None:
    for claim, award in pairs(asked, capacity=Resources(10**9, 10**9, capacity)):
        assert award.grant.slots >= min(wanted(claim).slots, award.floor.slots)


@given(asked=slot_lists, capacity=st.integers(0, 60), headroom=st.integers(0, 5))
def test_a_class_is_served_before_the_next_gets_anything(
    asked: list[Claim], capacity: int, headroom: int
) -> None:
    """Phase by phase: where a later phase got anything, the earlier ones are content."""
    result = pairs(asked, capacity=Resources(10**9, 10**9, capacity), headroom=headroom)
    bursting = [
        (claim, award)
        for claim, award in result
        if claim.service_class in (ServiceClass.DEDICATED, ELASTIC)
    ]
    short_of_baseline = any(
        award.grant.slots < min(wanted(claim).slots, claim.baseline.slots)
        for claim, award in result
        if claim.service_class is ELASTIC
    )
    bursts = any(award.grant.slots > claim.baseline.slots for claim, award in bursting)
    short_of_burst = any(award.grant.slots < wanted(claim).slots for claim, award in bursting)
    short_spot = any(
        award.grant.slots < wanted(claim).slots
        for claim, award in result
        if claim.service_class is SPOT
    )
    got = {
        kind: sum(award.grant.slots for claim, award in result if claim.service_class is kind)
        for kind in (SPOT, PREEMPTIBLE)
    }

    assert not (short_of_baseline and bursts), "law 5"
    assert not (short_of_burst and got[SPOT] + got[PREEMPTIBLE] > 0)
    assert not (short_spot and got[PREEMPTIBLE] > 0)


@given(asked=slot_lists, capacity=st.integers(0, 60), headroom=st.integers(0, 5))
def test_capacity_is_left_only_when_everybody_is_content_or_it_is_headroom(
    asked: list[Claim], capacity: int, headroom: int
) -> None:
    result = pairs(asked, capacity=Resources(10**9, 10**9, capacity), headroom=headroom)
    left = capacity - sum(withheld(award).slots for _, award in result)
    unmet = {
        claim.service_class for claim, award in result if award.grant.slots < wanted(claim).slots
    }

    assert left == 0 or unmet <= {SPOT, PREEMPTIBLE, ServiceClass.GUARANTEED}
    assert left <= headroom or not unmet & {SPOT, PREEMPTIBLE}


@given(asked=lists, capacity=vectors)
def test_an_elastic_below_its_baseline_lacks_a_dimension_in_which_no_peer_bursts(
    asked: list[Claim], capacity: Resources
) -> None:
    """Law 5 over coupled dimensions: what holds it back is not what a peer bursts with."""
    elastic = [
        (claim, award)
        for claim, award in pairs(asked, capacity=capacity)
        if claim.service_class is ELASTIC
    ]
    for claim, award in elastic:
        right = wanted(claim).at_most(claim.baseline)
        if award.grant.covers(right):
            continue
        assert any(
            award.grant.of(dimension) < wanted(claim).of(dimension)
            and (
                award.grant.of(dimension) >= claim.baseline.of(dimension)
                or all(
                    other.grant.of(dimension) <= peer.baseline.of(dimension)
                    for peer, other in elastic
                )
            )
            for dimension in Dimension
        )


wants = st.lists(st.tuples(sizes, weights), min_size=1, max_size=20)


@given(asked=wants, available=sizes)
@example(asked=[(1, 1), (1, 1), (1, 1)], available=1)
def test_a_fill_gives_out_exactly_what_there_is_or_what_is_wanted(
    asked: list[tuple[int, int]], available: int
) -> None:
    grants = fill([want for want, _ in asked], [weight for _, weight in asked], available)

    assert sum(grants) == min(available, sum(want for want, _ in asked))
    assert all(0 <= grant <= want for grant, (want, _) in zip(grants, asked, strict=True))


@given(asked=wants, available=sizes)
def test_a_fill_is_max_min_fair_within_one_unit(
    asked: list[tuple[int, int]], available: int
) -> None:
    """Nobody has more per weight than one whose want is unmet, but for one unit of rounding."""
    grants = fill([want for want, _ in asked], [weight for _, weight in asked], available)

    for grant, (want, weight) in zip(grants, asked, strict=True):
        if grant < want:
            assert all(
                (other - 1) * weight < (grant + 1) * other_weight
                for other, (_, other_weight) in zip(grants, asked, strict=True)
            )


@given(total=sizes, parts=st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_apportioning_loses_nothing_and_is_proportional_within_one_unit(
    total: int, parts: list[int]
) -> None:
    given_parts = apportion(total, parts)
    whole = sum(parts)

    assert sum(given_parts) == (total if whole else 0)
    for amount, weight in zip(given_parts, parts, strict=True):
        assert abs(amount * whole - total * weight) < max(1, whole)
