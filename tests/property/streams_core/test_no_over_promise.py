"""Law 2 on what admitters hold: late, lost and reordered messages, restarts and takeovers.

The admitters of ``world`` take all that they may, whichever published state they have heard of.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.specs import ServiceClass
from schemas.units import NOTHING, Resources
from tests.property.streams_core.world import World, stock
from tests.unit.streams_core.pools import entitlement, pool_of

DEDICATED, GUARANTEED = ServiceClass.DEDICATED, ServiceClass.GUARANTEED
ELASTIC, SPOT, PREEMPTIBLE = ServiceClass.ELASTIC, ServiceClass.SPOT, ServiceClass.PREEMPTIBLE

NEVER_LENT = pool_of(
    entitlement("d", DEDICATED, 4),
    entitlement("e1", ELASTIC, 5),
    entitlement("e2", ELASTIC, 3),
    entitlement("s", SPOT),
    entitlement("x", PREEMPTIBLE),
    replicas=2,
    headroom=1,
)
LENT = pool_of(
    entitlement("d", DEDICATED, 4),
    entitlement("g1", GUARANTEED, 5),
    entitlement("g2", GUARANTEED, 17),
    entitlement("e1", ELASTIC, 5),
    entitlement("s", SPOT),
    replicas=2,
    headroom=1,
)

seeds = st.integers(0, 10**6)
admitters = pytest.mark.parametrize("admitters", [1, 2, 4])
few = settings(max_examples=4, deadline=None)


@admitters
@given(seed=seeds)
@few
def test_nothing_is_held_beyond_capacity_when_no_floor_is_lent(admitters: int, seed: int) -> None:
    world = World(NEVER_LENT, seed, admitters, replicas=2)
    for _ in range(120):
        world.step()
        if world.outcome is None:
            continue
        tick = world.outcome.tick
        assert max(stock(world.held() - tick.capacity)) <= 0, world.story


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_exported_bound_is_zero_when_no_floor_is_lent(seed: int) -> None:
    assert bounds_seen(World(NEVER_LENT, seed, 4, replicas=2)) == {NOTHING}


@pytest.mark.xfail(
    strict=True,
    reason="the bound is one slot too large where a report and a state cross (1 of 400 seeds); "
    "what is held stays within capacity all the same, and the cause is not known yet",
)
def test_the_exported_bound_is_zero_also_where_reports_and_states_cross() -> None:
    assert bounds_seen(World(NEVER_LENT, 15_921, 4, replicas=2)) == {NOTHING}


def bounds_seen(world: World) -> set[Resources]:
    """Return every bound that the world's ticks exported."""
    seen = set()
    for _ in range(120):
        world.step()
        if world.outcome is not None:
            seen.add(world.outcome.tick.overshoot_bound)
    return seen


@admitters
@given(seed=seeds)
@few
def test_lent_floors_exceed_capacity_by_no_more_than_the_exported_bound(
    admitters: int, seed: int
) -> None:
    world = World(LENT, seed, admitters, replicas=2)
    for _ in range(120):
        world.step()
        if world.outcome is None:
            continue
        tick = world.outcome.tick
        over = world.held() - tick.capacity - tick.overshoot_bound
        assert max(stock(over)) <= 0, world.story


@admitters
@given(seed=seeds)
@few
def test_shares_that_may_be_followed_sum_to_no_more_than_the_limit_unless_it_was_just_cut(
    admitters: int, seed: int
) -> None:
    """Per entitlement and dimension, max(held, shares): a tick adds nothing above the limit."""
    world = World(LENT, seed, admitters, replicas=2)
    for _ in range(100):
        world.step()
        before = {uid: world.may_hold(uid) for uid in LENT.entitlements}
        heard = world.outcome
        world.tick()
        assert world.outcome is not None
        if heard is None:
            continue
        for output in world.outcome.tick.outputs:
            limit = output.floor.at_least(output.grant)
            most = limit.at_least(before[output.entitlement])
            assert most.covers(world.may_hold(output.entitlement)), world.story


@pytest.mark.parametrize("admitters", [1, 2])
@given(seed=seeds)
@few
def test_a_floor_is_always_whole_at_its_home_when_requests_go_there(
    admitters: int, seed: int
) -> None:
    """Law 3: no contention takes anything from a small floor, or from any with one admitter."""
    world = World(LENT, seed, admitters, replicas=2, lossy=False, reserved_at_home=True)
    for number in range(120):
        world.step(chaos=False)
        if number == 12:  # every admitter is known, so no home moves any more
            for admitter in world.alive:
                admitter.running.clear()
        for uid in ("d", "g1") if admitters > 1 else ("d", "g1", "g2"):
            for admitter in world.alive:
                if number >= 24 and admitter.name == world.home(uid):
                    usable = admitter.usable(uid, now_us=world.now_us)
                    assert usable.covers(LENT.entitlements[uid].floor), world.story


@admitters
@given(seed=seeds)
@few
def test_capacity_does_not_lie_idle_while_everybody_asks(admitters: int, seed: int) -> None:
    """Law 6: where messages arrive, the scarcer dimension is full but for headroom and pieces."""
    world = World(NEVER_LENT, seed, admitters, replicas=2, lossy=False, greedy=True)
    used = []
    for number in range(100):
        world.step(chaos=False)
        if number >= 40 and world.outcome is not None:
            capacity = world.outcome.tick.capacity
            kv_bytes, slots = stock(world.held())
            used.append(max(slots / capacity.slots, kv_bytes / capacity.kv_bytes))

    assert sum(used) / len(used) > 0.85, world.story
