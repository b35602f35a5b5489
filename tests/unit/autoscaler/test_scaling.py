"""How many replicas the demand needs, and when an order follows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.scaling import ScaleDirection
from schemas.specs import Scaling
from schemas.units import NOTHING, Dimension, Resources
from streams.core.scaling import NEEDS_MAX, Memory, Need, Needed, decide, needed, quantile
from tests.unit.autoscaler.pools import NO_WAITING, entitlement, pool

S = 1_000_000


@pytest.mark.parametrize(
    ("entitlements", "demand", "replicas"),
    [
        pytest.param([], {}, 0, id="nobody needs nothing"),
        pytest.param(
            [entitlement("d", "dedicated", tokensPerSecond=101)],
            {},
            2,
            id="a dedicated floor is bought whole, also while idle",
        ),
        pytest.param(
            [entitlement("g", "guaranteed", tokensPerSecond=201)],
            {},
            3,
            id="a guaranteed floor as well: it is a right at every instant",
        ),
        pytest.param(
            [entitlement("e", "elastic", tokensPerSecond=500)],
            {"e": Resources(tokens_per_s=250)},
            3,
            id="elastic demand below its baseline",
        ),
        pytest.param(
            [entitlement("e", "elastic", tokensPerSecond=150)],
            {"e": Resources(tokens_per_s=10_000)},
            2,
            id="elastic demand counts up to its baseline, its burst does not",
        ),
        pytest.param(
            [entitlement("e", "elastic", tokensPerSecond=500)], {}, 0, id="an idle elastic one"
        ),
        pytest.param(
            [entitlement("s", "spot"), entitlement("p", "preemptible")],
            {"s": Resources(10_000, 1 << 40, 500), "p": Resources(10_000, 1 << 40, 500)},
            0,
            id="never for spot and preemptible",
        ),
        pytest.param(
            [entitlement("g", "guaranteed"), entitlement("e", "elastic", tokensPerSecond=95)],
            {"g": Resources(tokens_per_s=6), "e": Resources(tokens_per_s=95)},
            2,
            id="guaranteed and elastic demand add up",
        ),
        pytest.param(
            [entitlement("e", "elastic")],
            {"gone": Resources(10_000, 1 << 40, 500)},
            0,
            id="demand of an entitlement that left the spec",
        ),
    ],
)
def test_needed(
    entitlements: list[dict[str, Any]], demand: dict[str, Resources], replicas: int
) -> None:
    assert needed(pool(*entitlements), demand, per_replica=NOTHING).replicas == replicas


def test_the_scarcest_dimension_decides_and_is_named() -> None:
    one = pool(entitlement("e", "elastic", tokensPerSecond=500, concurrency=50))

    need = needed(one, {"e": Resources(tokens_per_s=250, slots=41)}, per_replica=NOTHING)

    assert (need.replicas, need.dimension, need.by_floors) == (5, Dimension.CONCURRENCY, False)


def test_headroom_slots_are_bought_on_top_of_demand() -> None:
    one = pool(entitlement("e", "elastic", concurrency=50), headroom=2)

    need = needed(one, {"e": Resources(slots=9)}, per_replica=NOTHING)

    assert (need.demand.slots, need.replicas) == (11, 2)


def test_what_one_replica_was_measured_to_hold_counts_more_than_the_spec() -> None:
    one = pool(entitlement("e", "elastic", tokensPerSecond=500))
    demand = {"e": Resources(tokens_per_s=100)}

    assert needed(one, demand, per_replica=Resources(tokens_per_s=40)).replicas == 3


def need(replicas: int) -> Needed:
    return Needed(
        replicas=replicas,
        dimension=Dimension.THROUGHPUT,
        by_floors=False,
        demand=NOTHING,
        floors=NOTHING,
    )


def story(
    steps: list[tuple[int, int, int]], *, scaling: Scaling, low: int = 0, high: int = 100
) -> list[int]:
    """Return what is desired after each (second, replicas needed, current)."""
    memory, desired = Memory(started_us=0), []
    for second, replicas, current in steps:
        order, memory = decide(
            memory,
            need(replicas),
            pool=pool(scaling=scaling, low=low, high=high),
            current=current,
            at_us=second * S,
        )
        desired.append(order.desired)
    return desired


@pytest.mark.parametrize(
    ("scaling", "steps", "expected"),
    [
        pytest.param(
            NO_WAITING, [(0, 3, 1), (1, 3, 3), (2, 1, 3)], [3, 3, 1], id="up and down at once"
        ),
        pytest.param(
            Scaling(stabilization_seconds=10, cooldown_seconds=0),
            [(0, 2, 1), (5, 1, 2), (9, 1, 2), (15, 1, 2), (16, 1, 2)],
            [2, 2, 2, 1, 1],
            id="down only to the most that was needed within the window",
        ),
        pytest.param(
            Scaling(stabilization_seconds=10, cooldown_seconds=0),
            [(0, 1, 5), (9, 1, 5), (10, 1, 5)],
            [5, 5, 1],
            id="no way down before a whole window was seen",
        ),
        pytest.param(
            Scaling(stabilization_seconds=0, cooldown_seconds=0, step_max=2),
            [(0, 9, 1), (1, 9, 3), (2, 9, 5), (3, 1, 5), (4, 1, 3)],
            [3, 5, 7, 3, 1],
            id="in steps, both ways",
        ),
        pytest.param(
            Scaling(stabilization_seconds=0, cooldown_seconds=30, step_max=9),
            [(0, 2, 1), (1, 5, 2), (29, 5, 2), (30, 5, 2), (31, 1, 5)],
            [2, 2, 2, 5, 5],
            id="a cooldown between orders, and the order stands meanwhile",
        ),
        pytest.param(
            Scaling(stabilization_seconds=0, cooldown_seconds=30),
            [(0, 3, 1), (1, 3, 1), (40, 3, 1), (80, 3, 2)],
            [3, 3, 3, 3],
            id="an order that nobody follows stands and is not raised",
        ),
        pytest.param(
            Scaling(enabled=False, stabilization_seconds=0),
            [(0, 9, 2), (1, 0, 2)],
            [2, 2],
            id="disabled: what there is",
        ),
    ],
)
def test_orders(scaling: Scaling, steps: list[tuple[int, int, int]], expected: list[int]) -> None:
    assert story(steps, scaling=scaling) == expected


def test_orders_stay_within_the_bounds_of_the_spec() -> None:
    assert story([(0, 9, 2), (1, 0, 4)], scaling=NO_WAITING, low=2, high=4) == [4, 2]


def test_fewer_replicas_than_the_least_are_ordered_up_without_demand() -> None:
    assert story([(0, 0, 0)], scaling=NO_WAITING, low=2) == [2]


@pytest.mark.parametrize(
    ("replicas", "current", "direction", "reason"),
    [
        (3, 1, ScaleDirection.UP, "demand of throughput need 3"),
        (0, 3, ScaleDirection.DOWN, "demand of throughput need 0"),
        (2, 2, ScaleDirection.HOLD, "demand of throughput need 2"),
        (9, 1, ScaleDirection.UP, "demand of throughput need 9; replicas are bounded to 0 to 4"),
    ],
)
def test_an_order_says_why(
    replicas: int, current: int, direction: ScaleDirection, reason: str
) -> None:
    order, _ = decide(
        Memory(started_us=0),
        need(replicas),
        pool=pool(scaling=NO_WAITING, high=4),
        current=current,
        at_us=S,
    )

    assert (order.direction, order.reason) == (direction, reason)


def test_the_memory_is_bounded_and_forgets_no_peak() -> None:
    one = pool(scaling=Scaling(stabilization_seconds=1_000_000, cooldown_seconds=0))
    needs = tuple(Need(at, 50 if at == 0 else 1) for at in range(NEEDS_MAX))
    memory = msgspec.structs.replace(Memory(started_us=0), needs=needs)

    _, memory = decide(memory, need(1), pool=one, current=50, at_us=NEEDS_MAX)

    assert len(memory.needs) == NEEDS_MAX
    assert max(each.replicas for each in memory.needs) == 50


@pytest.mark.parametrize(
    ("values", "quantile_ppm", "expected"),
    [
        ([], 900_000, 0),
        ([5], 1, 5),
        ([3, 1, 2], 0, 1),
        ([3, 1, 2], 500_000, 2),
        (list(range(10)), 900_000, 9),
        (list(range(10)), 899_999, 8),
        (list(range(10)), 1_000_000, 9),
    ],
)
def test_quantile(values: list[int], quantile_ppm: int, expected: int) -> None:
    assert quantile(values, quantile_ppm=quantile_ppm) == expected
