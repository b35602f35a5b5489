"""Shares: one entitlement over two admitters, and raises that wait."""

from __future__ import annotations

from typing import TypedDict, Unpack

import pytest

from streams.core.shares import Parts, Stake, levelled, share_out, wanted_parts, within_limit


class Given(TypedDict, total=False):
    """What a scene says of its stake; the rest is nothing."""

    floor: int
    grant: int
    unlendable: int
    home: int
    splits: bool
    held: tuple[int, int]
    pending: tuple[int, int]
    orphaned: int
    floors_followed: tuple[int, int]
    grants_followed: tuple[int, int]


def stake(**given: Unpack[Given]) -> Stake:
    """Return a stake in slots: what is held is what counts."""
    held = given.get("held", (0, 0))
    return Stake(
        floor=given.get("floor", 0),
        grant=given.get("grant", 0),
        unlendable=given.get("unlendable", 0),
        home=given.get("home", 0),
        splits=given.get("splits", False),
        steady=held,
        pending=given.get("pending", (0, 0)),
        held=held,
        orphaned=given.get("orphaned", 0),
        floors_followed=given.get("floors_followed", (0, 0)),
        grants_followed=given.get("grants_followed", (0, 0)),
    )


@pytest.mark.parametrize(
    ("given", "floors", "grants"),
    [
        pytest.param(stake(floor=5), (5, 0), (0, 0), id="an idle small floor is whole at home"),
        pytest.param(
            stake(floor=5, grant=3, held=(1, 2)),
            (3, 2),
            (1, 2),
            id="less what others hold of it",
        ),
        pytest.param(
            stake(floor=5, grant=3, held=(1, 0), pending=(0, 2)),
            (5, 0),
            (3, 0),
            id="what is refused elsewhere is granted at home",
        ),
        pytest.param(
            stake(floor=17, splits=True),
            (9, 8),
            (0, 0),
            id="a large floor splits, the rest at home",
        ),
        pytest.param(
            stake(floor=17, splits=True, grant=12, held=(0, 12)),
            (5, 12),
            (0, 12),
            id="and follows demand beyond the even part",
        ),
        pytest.param(
            stake(grant=9, held=(2, 4), pending=(3, 0)), (0, 0), (5, 4), id="a grant follows demand"
        ),
        pytest.param(stake(grant=9, home=1), (0, 0), (0, 9), id="without demand it is at home"),
        pytest.param(
            stake(floor=5, grant=5, held=(2, 0), orphaned=3),
            (2, 0),
            (2, 0),
            id="what the dead hold is nobody's",
        ),
    ],
)
def test_the_split_that_is_aimed_at(
    given: Stake, floors: tuple[int, int], grants: tuple[int, int]
) -> None:
    assert wanted_parts(given) == Parts(floors, grants)


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        pytest.param(
            stake(grant=5, grants_followed=(5, 0)),
            Parts((0, 0), (0, 5)),
            Parts((0, 0), (0, 0)),
            id="a raise waits for the cut elsewhere",
        ),
        pytest.param(
            stake(grant=5, grants_followed=(2, 0)),
            Parts((0, 0), (0, 5)),
            Parts((0, 0), (0, 3)),
            id="as far as there is no room yet",
        ),
        pytest.param(
            stake(grant=2, grants_followed=(5, 0)),
            Parts((0, 0), (2, 0)),
            Parts((0, 0), (2, 0)),
            id="a cut does not wait",
        ),
        pytest.param(
            stake(grant=5, held=(0, 5), grants_followed=(5, 0)),
            Parts((0, 0), (0, 5)),
            Parts((0, 0), (0, 5)),
            id="what is held already is no raise",
        ),
        pytest.param(
            stake(floor=5, home=1, floors_followed=(5, 0)),
            Parts((0, 5), (0, 0)),
            Parts((0, 0), (0, 0)),
            id="a floor that moves waits too",
        ),
        pytest.param(
            stake(grant=5, orphaned=4),
            Parts((0, 0), (5, 0)),
            Parts((0, 0), (1, 0)),
            id="and for the dead",
        ),
    ],
)
def test_raises_within_the_limit(given: Stake, wanted: Parts, expected: Parts) -> None:
    assert within_limit(given, wanted, raises=True) == expected


def test_after_a_takeover_nothing_exceeds_what_is_followed() -> None:
    given = stake(grant=9, held=(6, 0), grants_followed=(4, 2))

    parts = within_limit(given, Parts((0, 0), (9, 0)), raises=False)

    assert parts == Parts((0, 0), (4, 0))


def test_a_grant_is_raised_only_once_the_common_share_was_given_up() -> None:
    """16 slots: all common at first; 10 are wanted at the first admitter."""
    wants = stake(grant=10, pending=(10, 0))
    first = share_out([wants], capacity=16, common_followed=[8, 8], demoted=[0, 0], raises=True)
    second = share_out([wants], capacity=16, common_followed=[3, 3], demoted=[0, 0], raises=True)

    assert (first.parts[0].grants, first.common) == ((0, 0), (3, 3))
    assert (second.parts[0].grants, second.common) == ((10, 0), (3, 3))


def test_what_is_held_in_common_moves_into_the_share_without_waiting_once_the_part_was_cut() -> (
    None
):
    held = stake(grant=5, held=(5, 0))

    plan = share_out([held], capacity=6, common_followed=[1, 1], demoted=[0, 0], raises=True)

    assert plan.parts[0].grants == (4, 0)


def test_an_idle_floor_that_may_be_lent_is_common_and_reaches_beyond_capacity() -> None:
    lent = stake(floor=6)

    plan = share_out([lent], capacity=16, common_followed=[0, 0], demoted=[0, 0], raises=True)

    assert plan.parts[0].floors == (6, 0)
    assert (plan.common, plan.common_total, plan.reach) == ((8, 8), 16, 22)


def test_a_floor_that_is_never_lent_is_set_aside_whole() -> None:
    kept = stake(floor=6, unlendable=6)

    plan = share_out([kept], capacity=16, common_followed=[0, 0], demoted=[0, 0], raises=True)

    assert (plan.common, plan.reach) == ((5, 5), 16)


def test_higher_ranks_are_raised_first() -> None:
    first, second = stake(grant=4, pending=(4, 0)), stake(grant=4, pending=(0, 4))

    plan = share_out(
        [first, second], capacity=8, common_followed=[1, 1], demoted=[0, 0], raises=True
    )

    assert [parts.grants for parts in plan.parts] == [(4, 0), (0, 2)]


def test_demoted_requests_draw_on_the_common_share() -> None:
    plan = share_out(
        [stake(grant=8, pending=(8, 0))],
        capacity=8,
        common_followed=[0, 0],
        demoted=[3, 0],
        raises=True,
    )

    assert plan.parts[0].grants == (5, 0)


def test_without_admitters_only_the_dead_reach_anything() -> None:
    lonely = Stake(5, 5, 0, 0, False, (), (), (), 3, (), ())

    plan = share_out([lonely], capacity=16, common_followed=[], demoted=[], raises=True)

    assert (plan.parts, plan.common, plan.reach) == ((Parts((), ()),), (), 3)


@pytest.mark.parametrize(
    ("parts", "total", "expected"),
    [
        pytest.param((0, 0, 0), 7, [3, 2, 2], id="even, the rest at home"),
        pytest.param((6, 0, 0), 8, [6, 1, 1], id="nobody is lowered"),
        pytest.param((1, 2, 3), 6, [1, 2, 3], id="nothing to add"),
        pytest.param((1, 2, 3), 9, [3, 3, 3], id="to one level"),
    ],
)
def test_levelled(parts: tuple[int, ...], total: int, expected: list[int]) -> None:
    assert levelled(parts, total, home=0) == expected
