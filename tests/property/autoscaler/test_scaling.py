"""Scaling keeps its bounds and never starves what is reserved, whatever the demand."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.pools import Pool, floors
from schemas.specs import Scaling
from schemas.units import NOTHING, Dimension, Resources, ceil_div
from streams.core.scaling import Memory, decide, needed
from tests.unit.autoscaler.pools import entitlement, pool

CLASSES = ("dedicated", "guaranteed", "elastic", "spot", "preemptible")
AMOUNTS = st.builds(
    Resources,
    st.integers(0, 5_000),
    st.integers(0, 1 << 36),
    st.integers(0, 400),
)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    entitlements: list[dict[str, Any]] = []
    for index in range(draw(st.integers(0, 6))):
        service_class = draw(st.sampled_from(CLASSES))
        amounts = {}
        if service_class not in ("spot", "preemptible"):
            amounts = {
                "tokensPerSecond": draw(st.integers(1, 1_000)),
                "concurrency": draw(st.integers(1, 100)),
            }
        entitlements.append(entitlement(f"e{index}", service_class, **amounts))
    low = draw(st.integers(0, 20))
    scaling = Scaling(
        stabilization_seconds=draw(st.integers(0, 30)),
        cooldown_seconds=draw(st.integers(0, 30)),
        step_max=draw(st.integers(1, 9)),
    )
    return pool(*entitlements, scaling=scaling, headroom=draw(st.integers(0, 9)), low=low)


def demands(uids: list[str]) -> st.SearchStrategy[dict[str, Resources]]:
    return st.fixed_dictionaries(dict.fromkeys(uids, AMOUNTS))


@given(data=st.data(), one=pools())
def test_what_is_needed_holds_every_floor(data: st.DataObject, one: Pool) -> None:
    demand = data.draw(demands(list(one.entitlements)))

    need = needed(one, demand, per_replica=NOTHING)

    assert one.per_replica.times(need.replicas).covers(floors(list(one.entitlements.values())))


@given(data=st.data(), one=pools())
def test_surplus_classes_change_nothing(data: st.DataObject, one: Pool) -> None:
    demand = data.draw(demands(list(one.entitlements)))
    surplus = [uid for uid, e in one.entitlements.items() if not e.service_class.has_baseline]
    without = {uid: each for uid, each in demand.items() if uid not in surplus}

    assert needed(one, demand, per_replica=NOTHING) == needed(one, without, per_replica=NOTHING)


@given(data=st.data(), one=pools())
def test_no_demand_needs_more_than_all_baselines_and_headroom(
    data: st.DataObject, one: Pool
) -> None:
    demand = data.draw(demands(list(one.entitlements)))
    most = Resources(slots=one.headroom_slots)
    for each in one.entitlements.values():
        most += each.baseline

    need = needed(one, demand, per_replica=NOTHING)

    assert need.replicas <= max(
        ceil_div(most.of(dimension), one.per_replica.of(dimension)) for dimension in Dimension
    )


@given(data=st.data(), one=pools())
def test_orders_move_by_steps_within_bounds(data: st.DataObject, one: Pool) -> None:
    memory, current = Memory(started_us=0), data.draw(st.integers(one.replicas_min, 100))
    for second in range(data.draw(st.integers(1, 40))):
        demand = data.draw(demands(list(one.entitlements)))
        need = needed(one, demand, per_replica=NOTHING)
        order, memory = decide(memory, need, pool=one, current=current, at_us=second * 1_000_000)

        assert one.replicas_min <= order.desired <= one.replicas_max
        assert abs(order.desired - current) <= one.scaling.step_max
        current = order.desired
