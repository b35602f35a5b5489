"""Laws 2, 4, 5 and 6 on what one fill grants, for any claims."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.specs import ServiceClass
from schemas.units import AMOUNT_MAX, NOTHING, Dimension, Resources, ceil_div
from streams.core.allocation import Award, Claim, allocate
from streams.core.rounding import apportion, fill

ELASTIC, SPOT, PREEMPTIBLE = ServiceClass.ELASTIC, ServiceClass.SPOT, ServiceClass.PREEMPTIBLE

sizes = st.one_of(
    st.integers(0, 20), st.integers(0, 10**6), st.sampled_from((0, 1, 2**62, AMOUNT_MAX))
)
vectors = st.builds(Resources, sizes, sizes, sizes)
few = st.integers(0, 12)
few_vectors = st.builds(Resources, few, few, few)
slot_vectors = st.builds(Resources, st.just(0), st.just(0), st.integers(0, 20))
weights = st.integers(1, 5_000_000)


@st.composite
def claims(draw: st.DrawFn, amounts: st.SearchStrategy[Resources]) -> Claim:
    """Return a claim as a spec allows it; demands beyond every ceiling included."""
    service_class = draw(st.sampled_from(ServiceClass))
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


slot_lists = st.lists(claims(slot_vectors), max_size=12)
scenes = st.one_of(
    st.tuples(st.lists(claims(vectors), max_size=12), vectors),
    st.tuples(st.lists(claims(few_vectors), max_size=8), few_vectors),
)
"""Claims and capacity: of any size, and few units of everything, where all are contended."""
Scene = tuple[list[Claim], Resources]
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


@given(scene=scenes, headroom=st.integers(0, 30))
def test_neither_grants_nor_floors_nor_what_is_set_aside_exceed_capacity(
    scene: Scene, headroom: int
) -> None:
    asked, capacity = scene
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


@given(scene=scenes)
def test_nobody_gets_more_than_it_asks_for_or_may_have(
    scene: Scene,
) -> None:
    asked, capacity = scene
    assert all(
        wanted(claim).covers(award.grant) and award.grant.covers(NOTHING)
        for claim, award in pairs(asked, capacity=capacity)
    )


@given(scene=scenes)
def test_floors_are_whole_where_they_fit_and_nothing_is_left_of_capacity_where_not(
    scene: Scene,
) -> None:
    asked, capacity = scene
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


@given(scene=scenes)
def test_no_grant_is_more_than_its_scarcest_dimension_can_use(scene: Scene) -> None:
    asked, capacity = scene
    for claim, award in pairs(asked, capacity=capacity):
        assert usable_right(claim, award.grant) == award.grant


def short_of(grant: Resources, right: Resources) -> list[Dimension]:
    """Return the dimensions in which a grant is below a right."""
    return [each for each in Dimension if grant.of(each) < right.of(each)]


def usable_right(claim: Claim, promised: Resources) -> Resources:
    """Return what ``promised`` is worth to the demand: no more than the scarcest can use."""
    wants = wanted(claim)
    got, of = 1, 1
    for each in Dimension:
        most, want = min(promised.of(each), wants.of(each)), wants.of(each)
        if want > 0 and most * of < got * want:
            got, of = most, want
    return Resources(
        *(min(promised.of(each), ceil_div(wants.of(each) * got, of)) for each in Dimension)
    ).at_most(wants)


def free(result: Pairs, *, capacity: Resources) -> Resources:
    """Return what no grant takes and no idle floor keeps."""
    left = capacity
    for _, award in result:
        left -= withheld(award)
    return left


@given(scene=scenes, headroom=st.integers(0, 30))
def test_each_unmet_demand_lacks_a_dimension_in_which_nothing_but_headroom_is_left(
    scene: Scene, headroom: int
) -> None:
    """Law 6, to the last unit: free lendable capacity is no more than the headroom."""
    asked, capacity = scene
    result = pairs(asked, capacity=capacity, headroom=headroom)
    left = free(result, capacity=capacity)

    for claim, award in result:
        short = short_of(award.grant, wanted(claim))
        kept_free = Resources(0, 0, 0 if claim.service_class.has_baseline else headroom)
        assert not short or any(
            left.of(each) <= kept_free.of(each)
            and award.grant.of(each) >= award.unlendable.of(each)
            for each in short
        )


@given(scene=scenes, headroom=st.integers(0, 30))
def test_what_holds_a_demand_back_is_held_by_nobody_of_a_later_phase(
    scene: Scene, headroom: int
) -> None:
    """Laws 4 and 5 over coupled dimensions: phase by phase, strictly."""
    asked, capacity = scene
    result = pairs(asked, capacity=capacity, headroom=headroom)

    def surplus(dimension: Dimension, *classes: ServiceClass) -> int:
        return sum(
            award.grant.of(dimension) for claim, award in result if claim.service_class in classes
        )

    def bursts(dimension: Dimension) -> bool:
        return any(
            award.grant.of(dimension) > claim.baseline.of(dimension)
            for claim, award in result
            if claim.service_class in (ServiceClass.DEDICATED, ELASTIC)
        )

    for claim, award in result:
        if claim.service_class.has_baseline:
            owed = short_of(award.grant, usable_right(claim, claim.baseline))
            assert not owed or any(
                not bursts(each) and not surplus(each, SPOT, PREEMPTIBLE) for each in owed
            )
            short = short_of(award.grant, wanted(claim))
            assert not short or any(not surplus(each, SPOT, PREEMPTIBLE) for each in short)
        if claim.service_class is SPOT:
            short = short_of(award.grant, wanted(claim))
            assert not short or any(not surplus(each, PREEMPTIBLE) for each in short)


@given(scene=scenes, headroom=st.integers(0, 30))
def test_a_floor_is_granted_as_far_as_the_demand_can_use_it(scene: Scene, headroom: int) -> None:
    """Floors are never contended: whatever others ask for, the floor is there to be used."""
    asked, capacity = scene
    for claim, award in pairs(asked, capacity=capacity, headroom=headroom):
        assert award.grant.covers(usable_right(claim, award.floor))


@given(scene=scenes)
def test_a_dedicated_floor_is_set_aside_and_a_guaranteed_one_as_far_as_it_is_not_lent(
    scene: Scene,
) -> None:
    asked, capacity = scene
    for claim, award in pairs(asked, capacity=capacity):
        match claim.service_class:
            case ServiceClass.DEDICATED:
                assert award.unlendable == award.floor
            case ServiceClass.GUARANTEED:
                assert award.unlendable == (award.floor - claim.lendable).at_least(NOTHING)
                assert claim.baseline.covers(award.grant), "guaranteed never bursts"
            case _:
                assert award.floor == award.unlendable == NOTHING


@given(scene=scenes, headroom=st.integers(0, 5))
def test_the_same_claims_get_the_same_grants_twice(scene: Scene, headroom: int) -> None:
    asked, capacity = scene
    first = allocate(asked, capacity=capacity, headroom_slots=headroom)

    assert allocate(tuple(asked), capacity=capacity, headroom_slots=headroom) == first


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


def test_wants_that_are_met_one_per_pass_are_met_in_the_order_of_the_sort() -> None:
    """Each want is just below the level at its turn and above all levels before."""
    available, count = 10**80, 40
    left, wanted_in_order = available, []
    for place in range(30):
        wanted_in_order.append(left // (count - place) - 10 ** (70 - 2 * place))
        left -= wanted_in_order[-1]
    endless = [available] * (count - 30)

    grants = fill([*wanted_in_order, *endless], [1] * count, available)

    assert grants[:30] == wanted_in_order
    assert sum(grants) == available
    assert max(grants[30:]) - min(grants[30:]) <= 1


@given(total=sizes, parts=st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_apportioning_loses_nothing_and_is_proportional_within_one_unit(
    total: int, parts: list[int]
) -> None:
    given_parts = apportion(total, parts)
    whole = sum(parts)

    assert sum(given_parts) == (total if whole else 0)
    for amount, weight in zip(given_parts, parts, strict=True):
        assert abs(amount * whole - total * weight) < max(1, whole)
