"""Splitting and surplus: whatever is held and refused where, the parts sum to what there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.core.splitting import SLOTS, Wanted, split
from streams.core.surplus import common_parts

counts = st.sampled_from([1, 2, 4, 8])


@st.composite
def wanted(draw: st.DrawFn) -> Wanted:
    """Draw an entitlement over 1, 2, 4 or 8 admitters; its grant is at most its demand."""
    admitters = draw(counts)
    rows = st.lists(st.integers(0, 40), min_size=admitters, max_size=admitters)
    steady = [draw(rows) for _ in range(3)]
    pending = [draw(rows) for _ in range(3)]
    return Wanted(
        floor=[draw(st.integers(0, 100)) for _ in range(3)],
        grant=[
            draw(st.integers(0, sum(held) + sum(refused)))
            for held, refused in zip(steady, pending, strict=True)
        ],
        steady=steady,
        pending=pending,
        home=draw(st.integers(0, admitters - 1)),
        splits=draw(st.booleans()),
    )


@given(wanted())
def test_the_parts_of_floor_and_grant_sum_to_them_in_every_dimension(item: Wanted) -> None:
    for d, parts in enumerate(split(item)):
        assert sum(parts.grants) == item.grant[d]
        assert min(*parts.grants, *parts.floors, 0) == 0
        if any(item.floor):
            assert sum(parts.floors) == item.floor[d]


@given(wanted())
def test_nobody_has_less_of_a_floor_than_of_the_grant_inside_it(item: Wanted) -> None:
    for d, parts in enumerate(split(item)):
        if any(item.floor) and item.grant[d] <= item.floor[d]:
            pairs = zip(parts.floors, parts.grants, strict=True)
            assert all(floor >= grant for floor, grant in pairs)


@given(wanted())
def test_a_small_floor_lies_at_its_home_but_for_what_others_hold(item: Wanted) -> None:
    parts = split(item)[SLOTS]
    held = item.steady[SLOTS]
    if 0 < item.grant[SLOTS] == sum(held) <= item.floor[SLOTS] and not item.splits:
        away = [part for i, part in enumerate(parts.floors) if i != item.home]
        assert away == [amount for i, amount in enumerate(held) if i != item.home]


@st.composite
def surpluses(draw: st.DrawFn) -> tuple[list[int], list[list[int]], list[int]]:
    """Draw what is left, what is held above the shares, and where the traffic is."""
    admitters = draw(counts)
    row = st.lists(st.integers(0, 50), min_size=admitters, max_size=admitters)
    above = [draw(row) for _ in range(3)]
    return [draw(st.integers(0, 400)) for _ in range(3)], above, draw(row)


@given(surpluses())
def test_the_common_parts_and_what_is_held_above_them_fit_into_what_is_left(
    given_surplus: tuple[list[int], list[list[int]], list[int]],
) -> None:
    totals, above, traffic = given_surplus
    for total, held, parts in zip(
        totals, above, common_parts(totals, above=above, traffic=traffic), strict=True
    ):
        assert min(parts) >= 0
        assert sum(map(max, parts, held)) <= max(total, sum(held))


@given(total=st.integers(8, 400), traffic=st.lists(st.integers(0, 50), min_size=1, max_size=8))
def test_a_first_request_finds_a_slot_anywhere_while_there_are_enough(
    total: int, traffic: list[int]
) -> None:
    nothing = [0] * len(traffic)
    parts = common_parts((0, 0, total), above=[nothing] * 3, traffic=traffic)[SLOTS]

    assert min(parts) > 0
    assert sum(parts) == total
