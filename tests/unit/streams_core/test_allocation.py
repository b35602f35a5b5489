"""Allocation: scenes with the paper's replica, one line per rule."""

from __future__ import annotations

import pytest

from schemas.pools import UNLIMITED
from schemas.specs import ServiceClass
from schemas.units import NOTHING, Resources
from streams.core.allocation import Award, Claim, allocate
from tests.unit.streams_core.pools import GIB, vector

ONE_REPLICA = Resources(240, 16 * GIB, 16)


def claim(
    uid: str,
    service_class: ServiceClass,
    *,
    demand: int,
    baseline: int = 0,
    weight: int = 1_000_000,
    lendable: int | None = None,
) -> Claim:
    """Return a claim in slots, with the tokens/s and KV cache that go with them."""
    promised = vector(baseline)
    lends = vector(baseline if lendable is None else lendable)
    guaranteed = service_class is ServiceClass.GUARANTEED
    return Claim(
        uid=uid,
        service_class=service_class,
        weight_ppm=weight,
        demand=vector(demand),
        baseline=promised,
        ceiling=promised if guaranteed else UNLIMITED,
        lendable=lends if guaranteed else NOTHING,
    )


def slots(awards: tuple[Award, ...]) -> dict[str, int]:
    """Return the granted slots."""
    return {award.uid: award.grant.slots for award in awards}


DEDICATED, GUARANTEED = ServiceClass.DEDICATED, ServiceClass.GUARANTEED
ELASTIC, SPOT, PREEMPTIBLE = ServiceClass.ELASTIC, ServiceClass.SPOT, ServiceClass.PREEMPTIBLE


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        pytest.param(
            [claim("g", GUARANTEED, demand=6, baseline=6), claim("s", SPOT, demand=16)],
            {"g": 6, "s": 10},
            id="spot gets what a floor leaves",
        ),
        pytest.param(
            [claim("g", GUARANTEED, demand=2, baseline=6), claim("s", SPOT, demand=16)],
            {"g": 2, "s": 14},
            id="an idle guaranteed floor is lent",
        ),
        pytest.param(
            [
                claim("g", GUARANTEED, demand=0, baseline=6, lendable=2),
                claim("s", SPOT, demand=16),
            ],
            {"g": 0, "s": 12},
            id="as far as it may be lent",
        ),
        pytest.param(
            [claim("d", DEDICATED, demand=0, baseline=6), claim("s", SPOT, demand=16)],
            {"d": 0, "s": 10},
            id="an idle dedicated floor is not lent",
        ),
        pytest.param(
            [claim("g", GUARANTEED, demand=9, baseline=6), claim("s", SPOT, demand=0)],
            {"g": 6, "s": 0},
            id="guaranteed does not burst",
        ),
        pytest.param(
            [claim("d", DEDICATED, demand=9, baseline=6), claim("s", SPOT, demand=16)],
            {"d": 9, "s": 7},
            id="dedicated bursts before spot",
        ),
        pytest.param(
            [
                claim("a", ELASTIC, demand=16, baseline=4),
                claim("b", ELASTIC, demand=4, baseline=4),
                claim("s", SPOT, demand=4),
            ],
            {"a": 12, "b": 4, "s": 0},
            id="elastic bursts only over what its peer leaves",
        ),
        pytest.param(
            [
                claim("a", ELASTIC, demand=16, baseline=16),
                claim("b", ELASTIC, demand=16, baseline=16),
            ],
            {"a": 8, "b": 8},
            id="elastic baselines shrink together",
        ),
        pytest.param(
            [
                claim("a", ELASTIC, demand=16, baseline=16, weight=3_000_000),
                claim("b", ELASTIC, demand=16, baseline=16, weight=1_000_000),
            ],
            {"a": 12, "b": 4},
            id="by weight",
        ),
        pytest.param(
            [
                claim("a", ELASTIC, demand=16, baseline=16),
                claim("b", ELASTIC, demand=16, baseline=8),
            ],
            {"a": 11, "b": 5},
            id="and by baseline",
        ),
        pytest.param(
            [
                claim("a", ELASTIC, demand=16, baseline=8, weight=3_000_000),
                claim("b", ELASTIC, demand=8, baseline=8, weight=1_000_000),
            ],
            {"a": 8, "b": 8},
            id="no weight bursts over a peer's baseline",
        ),
        pytest.param(
            [claim("s", SPOT, demand=10), claim("x", PREEMPTIBLE, demand=10)],
            {"s": 10, "x": 6},
            id="preemptible comes last",
        ),
        pytest.param(
            [claim("s", SPOT, demand=2), claim("t", SPOT, demand=20), claim("u", SPOT, demand=20)],
            {"s": 2, "t": 7, "u": 7},
            id="max-min inside a class",
        ),
    ],
)
def test_who_gets_how_many_of_sixteen_slots(claims: list[Claim], expected: dict[str, int]) -> None:
    awards = allocate(claims, capacity=ONE_REPLICA)

    assert slots(awards) == expected


def test_surplus_classes_leave_the_headroom_free() -> None:
    claims = [claim("e", ELASTIC, demand=4, baseline=4), claim("s", SPOT, demand=16)]

    awards = allocate(claims, capacity=ONE_REPLICA, headroom_slots=3)

    assert slots(awards) == {"e": 4, "s": 9}


def test_headroom_is_not_kept_from_classes_with_a_baseline() -> None:
    claims = [claim("e", ELASTIC, demand=20, baseline=4)]

    awards = allocate(claims, capacity=ONE_REPLICA, headroom_slots=3)

    assert slots(awards) == {"e": 16}


def test_floors_that_do_not_fit_are_scaled_by_weight() -> None:
    claims = [
        claim("a", GUARANTEED, demand=16, baseline=16, weight=3_000_000),
        claim("b", GUARANTEED, demand=16, baseline=16, weight=1_000_000),
    ]

    floors = {award.uid: award.floor for award in allocate(claims, capacity=ONE_REPLICA)}

    assert floors == {"a": vector(12), "b": vector(4)}


def test_what_idle_peers_leave_of_a_scaled_floor_goes_to_reserved_baselines_before_elastic() -> (
    None
):
    claims = [
        claim("a", GUARANTEED, demand=16, baseline=16),
        claim("b", GUARANTEED, demand=0, baseline=16),
        claim("e", ELASTIC, demand=16, baseline=16),
    ]

    awards = allocate(claims, capacity=ONE_REPLICA)

    assert [award.floor.slots for award in awards] == [8, 8, 0]
    assert slots(awards) == {"a": 16, "b": 0, "e": 0}


def spot_claims(*demands: tuple[int, int, int], weights: tuple[int, ...] = ()) -> list[Claim]:
    """Return claims of spot on tokens/s, bytes and slots."""
    return [
        Claim(str(i), SPOT, weight, Resources(*demand), NOTHING, UNLIMITED, NOTHING)
        for i, (demand, weight) in enumerate(
            zip(demands, weights or (1,) * len(demands), strict=True)
        )
    ]


def test_what_the_last_round_frees_is_used() -> None:
    """Rounds alone leave the first at (4, 8, 2), although there is room for it in all three."""
    claims = spot_claims((6, 14, 2), (13, 10, 13), (0, 13, 20))

    awards = allocate(claims, capacity=Resources(11, 22, 19))

    assert [award.grant for award in awards] == [
        Resources(5, 10, 2),
        Resources(5, 4, 5),
        Resources(0, 8, 12),
    ]


def test_what_is_used_of_it_is_used_once() -> None:
    """One slot is left over by the rounds, and two could take it."""
    claims = spot_claims((0, 0, 3), (1, 3, 1), (3, 4, 3), (0, 0, 1), weights=(3, 1, 1, 2))

    awards = allocate(claims, capacity=Resources(6, 1, 3))

    assert [award.grant.slots for award in awards] == [2, 0, 0, 1]


def test_a_grant_is_cut_to_what_its_scarcest_dimension_can_use_and_the_rest_is_filled() -> None:
    """``a`` asks for 8 slots of 4 GiB each, ``b`` for 16 of half a GiB.

    The 16 GiB are contended most: 8 for each, of which ``a`` can use 2 slots.  ``b`` then gets 14
    slots and can use 7 GiB, so ``a`` gets 9, asks for a third slot, and ``b`` has 13.
    """
    heavy = Resources(tokens_per_s=0, kv_bytes=32 * GIB, slots=8)
    light = Resources(tokens_per_s=0, kv_bytes=8 * GIB, slots=16)
    claims = [
        Claim(uid, SPOT, 1_000_000, demand, NOTHING, UNLIMITED, NOTHING)
        for uid, demand in (("a", heavy), ("b", light))
    ]

    awards = allocate(claims, capacity=ONE_REPLICA)

    assert [award.grant.slots for award in awards] == [3, 13]
    assert [award.grant.kv_bytes for award in awards] == [9 * GIB + GIB // 2, 13 * GIB // 2]


def test_nobody_and_nothing_to_give_are_no_special_cases() -> None:
    assert allocate([], capacity=ONE_REPLICA) == ()
    idle = allocate([claim("e", ELASTIC, demand=0, baseline=4)], capacity=ONE_REPLICA)
    assert idle[0].grant == NOTHING
    empty = allocate([claim("g", GUARANTEED, demand=4, baseline=4)], capacity=NOTHING)
    assert (empty[0].floor, empty[0].grant) == (NOTHING, NOTHING)
