"""Splitting: where the floor and the grant of one entitlement are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import pytest

from streams.core.splitting import Parts, Wanted, split


class Given(TypedDict, total=False):
    """What a scene says; the rest is nothing."""

    floor: int
    grant: int
    home: int
    splits: bool
    held: Sequence[int]
    pending: Sequence[int]


def slots_of(**given: Unpack[Given]) -> tuple[list[int], list[int]]:
    """Return floors and grants in slots, with 10 bytes of KV cache and 100 tokens/s per slot."""
    held = given.get("held", (0, 0))
    pending = given.get("pending", [0] * len(held))
    parts = split(
        Wanted(
            floor=scaled([given.get("floor", 0)])[0],
            grant=scaled([given.get("grant", 0)])[0],
            steady=by_dimension(held),
            pending=by_dimension(pending),
            home=given.get("home", 0),
            splits=given.get("splits", False),
        )
    )
    assert rows(parts[1]) == tuple([10 * part for part in row] for row in rows(parts[2]))
    assert rows(parts[0]) == tuple([100 * part for part in row] for row in rows(parts[2]))
    return rows(parts[2])


def scaled(slots: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return each amount of slots with what goes with it."""
    return [(100 * amount, 10 * amount, amount) for amount in slots]


def by_dimension(slots: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the same, by dimension."""
    return list(zip(*scaled(slots), strict=True))


def rows(parts: Parts) -> tuple[list[int], list[int]]:
    """Return floors and grants by admitter."""
    return list(parts.floors), list(parts.grants)


@pytest.mark.parametrize(
    ("given", "floors", "grants"),
    [
        pytest.param(Given(floor=5), [5, 0], [0, 0], id="an idle small floor is whole at home"),
        pytest.param(
            Given(floor=5, grant=3, held=(1, 2)),
            [3, 2],
            [1, 2],
            id="less what others hold of it",
        ),
        pytest.param(
            Given(floor=5, grant=3, held=(1, 0), pending=(0, 2)),
            [5, 0],
            [3, 0],
            id="what is refused elsewhere is granted at home",
        ),
        pytest.param(
            Given(floor=17, splits=True), [13, 4], [0, 0], id="half of an idle large floor splits"
        ),
        pytest.param(
            Given(floor=40, splits=True, grant=20, held=(0, 20)),
            [11, 29],
            [0, 20],
            id="the slack follows demand, at least half of it at home",
        ),
        pytest.param(
            Given(floor=40, splits=True, grant=20, held=(15, 5)),
            [33, 7],
            [15, 5],
            id="wherever the demand is",
        ),
        pytest.param(
            Given(floor=17, splits=True, grant=16, held=(0, 16)),
            [1, 16],
            [0, 16],
            id="the last of the slack is at home",
        ),
        pytest.param(
            Given(floor=17, splits=True, grant=17, held=(3, 14)),
            [3, 14],
            [3, 14],
            id="a floor in full use is where it is used",
        ),
        pytest.param(
            Given(grant=9, held=(2, 4), pending=(3, 0)), [0, 0], [5, 4], id="a grant follows demand"
        ),
        pytest.param(
            Given(grant=6, held=(4, 0), pending=(2, 6)), [0, 0], [3, 3], id="cut in proportion"
        ),
        pytest.param(Given(grant=9, home=1), [0, 0], [0, 9], id="without demand it is at home"),
    ],
)
def test_the_split_that_is_aimed_at(given: Given, floors: list[int], grants: list[int]) -> None:
    assert slots_of(**given) == (floors, grants)


def test_kv_is_cut_in_step_with_the_slots_that_it_is_for() -> None:
    """Small requests here, large ones there; slots for half of them."""
    parts = split(
        Wanted(
            floor=(0, 0, 0),
            grant=(0, 55, 5),
            steady=((0, 0), (0, 0), (0, 0)),
            pending=((0, 0), (10, 100), (5, 5)),
            home=0,
            splits=False,
        )
    )

    assert rows(parts[2])[1] == [3, 2]
    assert rows(parts[1])[1] == [7, 48]


def test_slack_is_counted_in_requests_for_which_there_is_kv() -> None:
    """12 slots are left, and KV for 4 requests of 20 bytes: one goes away from home."""
    parts = split(
        Wanted(
            floor=(0, 160, 16),
            grant=(0, 80, 4),
            steady=((0, 0), (40, 40), (2, 2)),
            pending=((0, 0), (0, 0), (0, 0)),
            home=0,
            splits=True,
        )
    )

    assert rows(parts[2])[0] == [13, 3]
    assert rows(parts[1])[0] == [100, 60]


def test_throughput_without_any_report_of_it_lies_where_the_slots_are() -> None:
    parts = split(
        Wanted(
            floor=(0, 0, 0),
            grant=(90, 3, 3),
            steady=((0, 0), (1, 2), (1, 2)),
            pending=((0, 0), (0, 0), (0, 0)),
            home=0,
            splits=False,
        )
    )

    assert rows(parts[0])[1] == [30, 60]
