"""Shares: one entitlement over two admitters, and raises that wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import pytest

from streams.core.shares import Room, Stake, within_limit
from streams.core.splitting import Parts, Wanted, split
from streams.core.surplus import common_parts

Pair = tuple[int, int]


class Given(TypedDict, total=False):
    """What a scene says of its stake; the rest is nothing."""

    floor: int
    grant: int
    unlendable: int
    lendable: int
    home: int
    held: Pair
    pending: Pair
    orphaned: int
    floors_followed: Pair
    grants_followed: Pair
    wanted: Parts


def stake(**given: Unpack[Given]) -> Stake:
    """Return a stake in slots: what is held is what counts; small floors are whole at home."""
    held, pending = given.get("held", (0, 0)), given.get("pending", (0, 0))
    floor, grant, home = given.get("floor", 0), given.get("grant", 0), given.get("home", 0)
    lost = given.get("orphaned", 0)
    aimed = split(
        Wanted(
            floor=(0, 0, max(0, floor - lost)),
            grant=(0, 0, max(0, grant - lost)),
            steady=((0, 0), (0, 0), held),
            pending=((0, 0), (0, 0), pending),
            home=home,
            splits=False,
        )
    )
    return Stake(
        floor=floor,
        grant=grant,
        unlendable=given.get("unlendable", 0),
        lendable=given.get("lendable", 0),
        home=home,
        orphaned=lost,
        held=held,
        floors_followed=given.get("floors_followed", (0, 0)),
        grants_followed=given.get("grants_followed", (0, 0)),
        wanted=given.get("wanted", aimed[2]),
    )


class Outcome(TypedDict):
    """The shares of one dimension."""

    floors: list[list[int]]
    grants: list[list[int]]
    common: list[int]
    common_total: int
    reach: int


def share_out(
    stakes: Sequence[Stake],
    *,
    capacity: int,
    common_followed: Pair = (0, 0),
    demoted: Pair = (0, 0),
    raises: bool = True,
    kept: int = 0,
) -> Outcome:
    """Return what one tick would publish of slots, with traffic everywhere alike."""
    room = Room(stakes, capacity=capacity, common_followed=common_followed, demoted=demoted)
    parts = room.raise_shares(raises=raises)
    left = room.surplus()
    target = common_parts((0, 0, left.total), above=((0, 0), (0, 0), left.above), traffic=(0, 0))[2]
    common = room.raise_common(target, raises=raises)
    return Outcome(
        floors=[list(each.floors) for each in parts],
        grants=[list(each.grants) for each in parts],
        common=common,
        common_total=left.total,
        reach=sum(room.reach(common, kept=kept)) + sum(each.orphaned for each in stakes),
    )


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        pytest.param(
            Given(grant=5, grants_followed=(5, 0)),
            Parts((0, 0), (0, 5)),
            Parts((0, 0), (0, 0)),
            id="a raise waits for the cut elsewhere",
        ),
        pytest.param(
            Given(grant=5, grants_followed=(2, 0)),
            Parts((0, 0), (0, 5)),
            Parts((0, 0), (0, 3)),
            id="as far as there is no room yet",
        ),
        pytest.param(
            Given(grant=2, grants_followed=(5, 0)),
            Parts((0, 0), (2, 0)),
            Parts((0, 0), (2, 0)),
            id="a cut does not wait",
        ),
        pytest.param(
            Given(grant=5, held=(0, 5), grants_followed=(5, 0)),
            Parts((0, 0), (0, 5)),
            Parts((0, 0), (0, 5)),
            id="what is held already is no raise",
        ),
        pytest.param(
            Given(floor=5, home=1, floors_followed=(5, 0)),
            Parts((0, 5), (0, 0)),
            Parts((0, 0), (0, 0)),
            id="a floor that moves waits too",
        ),
        pytest.param(
            Given(grant=5, orphaned=4),
            Parts((0, 0), (5, 0)),
            Parts((0, 0), (1, 0)),
            id="and for the dead",
        ),
    ],
)
def test_raises_within_the_limit(given: Given, wanted: Parts, expected: Parts) -> None:
    given["wanted"] = wanted
    allowed = within_limit(stake(**given), raises=True)

    assert rows(allowed) == rows(expected)


def test_after_a_takeover_nothing_exceeds_what_is_followed() -> None:
    given = stake(
        grant=9, held=(6, 0), grants_followed=(4, 2), wanted=Parts(floors=(0, 0), grants=(9, 0))
    )

    assert rows(within_limit(given, raises=False)) == ([0, 0], [4, 0])


def rows(parts: Parts) -> tuple[list[int], list[int]]:
    """Return floors and grants by admitter."""
    return list(parts.floors), list(parts.grants)


def test_a_grant_is_raised_only_once_the_common_share_was_given_up() -> None:
    """16 slots: all common at first; 10 are wanted at the first admitter."""
    wants = stake(grant=10, pending=(10, 0))

    first = share_out([wants], capacity=16, common_followed=(8, 8))
    second = share_out([wants], capacity=16, common_followed=(3, 3))

    assert (first["grants"], first["common"]) == ([[0, 0]], [3, 3])
    assert (second["grants"], second["common"]) == ([[10, 0]], [3, 3])


def test_what_is_held_in_common_moves_into_the_share_without_waiting_once_the_part_was_cut() -> (
    None
):
    held = stake(grant=5, held=(5, 0))

    assert share_out([held], capacity=6, common_followed=(1, 1))["grants"] == [[4, 0]]


def test_an_idle_floor_that_may_be_lent_is_common_and_reaches_beyond_capacity() -> None:
    plan = share_out([stake(floor=6)], capacity=16)

    assert plan["floors"] == [[6, 0]]
    assert (plan["common"], plan["common_total"], plan["reach"]) == ([8, 8], 16, 22)


def test_a_floor_that_is_never_lent_is_set_aside_whole() -> None:
    plan = share_out([stake(floor=6, unlendable=6)], capacity=16)

    assert (plan["common"], plan["reach"]) == ([5, 5], 16)


@pytest.mark.parametrize(
    ("wanted", "reserved"),
    [
        pytest.param(
            Parts(floors=(3, 1), grants=(3, 2)), [2, 2], id="what is held becomes a share"
        ),
        pytest.param(Parts(floors=(3, 0), grants=(0, 0)), [2, 0], id="and nothing else is raised"),
    ],
)
def test_a_floor_set_aside_grows_by_nothing_that_its_own_requests_above_their_share_take_up(
    wanted: Parts, reserved: list[int]
) -> None:
    """8 slots: 2 reserved ones here, 2 held above their share there, 3 elastic, 1 common."""
    dedicated = stake(
        floor=4, grant=5, unlendable=4, held=(0, 2), floors_followed=(2, 0), wanted=wanted
    )
    elastic = stake(grant=3, held=(3, 0), grants_followed=(3, 0))

    plan = share_out([dedicated, elastic], capacity=8, common_followed=(1, 0))

    usable = [*map(max, plan["floors"][0], plan["grants"][0])]
    assert usable == reserved
    assert plan["reach"] == 8


def test_higher_ranks_are_raised_first() -> None:
    first, second = stake(grant=4, pending=(4, 0)), stake(grant=4, pending=(0, 4))

    plan = share_out([first, second], capacity=8, common_followed=(1, 1))

    assert plan["grants"] == [[4, 0], [0, 2]]


def test_demoted_requests_draw_on_the_common_share() -> None:
    plan = share_out([stake(grant=8, pending=(8, 0))], capacity=8, demoted=(3, 0))

    assert plan["grants"] == [[5, 0]]


def test_headroom_that_nobody_can_take_is_out_of_reach_but_for_what_is_held_in_it() -> None:
    free = share_out([], capacity=8, common_followed=(4, 4), kept=1)
    full = share_out([stake(held=(4, 0))], capacity=8, common_followed=(4, 4), kept=1)

    assert free["reach"] == 6
    assert full["reach"] == 7
