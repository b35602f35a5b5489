"""Law 2 on what admitters hold: late, lost and reordered messages, restarts and takeovers.

The admitters of ``world`` take all that they may, whichever published state they have heard of.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.pools import Pool
from schemas.specs import Leases, ServiceClass
from schemas.units import NOTHING, US_PER_S, Resources
from tests.property.examples import examples
from tests.property.streams_core.admitter import stock
from tests.property.streams_core.world import World
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

SHORT = Leases(hold_seconds=3, admitters_max=8)
"""Lease and hold run out while the world is watched."""
NO_BURST = pool_of(
    entitlement("g1", GUARANTEED, 5),
    entitlement("g2", GUARANTEED, 17),
    entitlement("s", SPOT),
    entitlement("x", PREEMPTIBLE),
    replicas=2,
    headroom=2,
)
POOLS = {"never lent": NEVER_LENT, "lent": LENT, "no burst": NO_BURST}

seeds = st.integers(0, 10**6)
admitters = pytest.mark.parametrize("admitters", [1, 2, 4, 8])
few = examples(3)
some = examples(6)


def with_leases(name: str, leases: Leases) -> Pool:
    """Return a pool with other leases."""
    return msgspec.structs.replace(POOLS[name], leases=leases)


def assert_bound_holds(world: World, *, steps: int = 120, chaos: bool = True) -> None:
    """Check after every step that no more is held than capacity and the exported bound."""
    for _ in range(steps):
        world.step(chaos=chaos)
        if world.outcome is not None:
            tick = world.outcome.tick
            over = world.held() - tick.capacity - tick.overshoot_bound
            assert max(stock(over)) <= 0, world.story


def bounds_seen(world: World) -> set[Resources]:
    """Return every bound that the world's ticks exported."""
    seen = set()
    for _ in range(120):
        world.step()
        if world.outcome is not None:
            seen.add(world.outcome.tick.overshoot_bound)
    return seen


@admitters
@given(seed=seeds, pool=st.sampled_from(sorted(POOLS)))
@some
def test_no_more_is_held_than_capacity_and_the_exported_bound(
    admitters: int, seed: int, pool: str
) -> None:
    """Messages are late, lost and reordered; admitters are killed, and their requests adopted."""
    assert_bound_holds(World(POOLS[pool], seed, admitters, replicas=2))


@admitters
@given(seed=seeds, pool=st.sampled_from(sorted(POOLS)), split_slots=st.sampled_from([0, 8]))
@some
def test_the_bound_covers_those_who_are_cut_off_beyond_lease_and_hold(
    admitters: int, seed: int, pool: str, split_slots: int
) -> None:
    """They serve static safe shares, perhaps of homes that have moved away since."""
    leases = msgspec.structs.replace(SHORT, split_slots=split_slots)
    world = World(with_leases(pool, leases), seed, admitters, replicas=2, partitions=True)
    assert_bound_holds(world, steps=160)


@pytest.mark.parametrize("admitters", [2, 4])
@given(seed=seeds, pool=st.sampled_from(sorted(POOLS)))
@examples(8)
def test_the_bound_covers_what_the_killed_admitted_since_their_last_report(
    admitters: int, seed: int, pool: str
) -> None:
    world = World(POOLS[pool], seed, admitters, replicas=2, greedy=True, reports_rarely=True)
    assert_bound_holds(world, steps=200)


@pytest.mark.parametrize("is_mute", [True, False])
@pytest.mark.parametrize("seed", [2, 3])
def test_the_bound_covers_the_static_safe_share_of_one_that_hears_nothing_for_a_minute(
    seed: int, is_mute: bool
) -> None:
    """The other admitter takes all that is free; one that reports is alive, and deaf."""
    leases = Leases(hold_seconds=3, admitters_max=2, split_slots=100)
    world = World(with_leases("no burst", leases), seed, 2, replicas=2, lossy=False, greedy=True)
    for _ in range(20):
        world.step(chaos=False)
    cut_off = world.alive[seed % 2]
    cut_off.deaf_until_us = world.now_us + 60 * US_PER_S
    cut_off.mute_until_us = cut_off.deaf_until_us if is_mute else 0
    over = []
    for _ in range(240):
        assert_bound_holds(world, steps=1, chaos=False)
        assert world.outcome is not None
        over.append(max(stock(world.held() - world.outcome.tick.capacity)))

    assert max(over) > 0, "nobody overshot, so nothing was tested"


@admitters
@given(seed=seeds)
@few
def test_the_exported_bound_is_zero_while_no_floor_is_lent_and_nobody_dies_or_is_deaf(
    admitters: int, seed: int
) -> None:
    pool = with_leases("never lent", Leases(lease_ms=60_000))
    world = World(pool, seed, admitters, replicas=2, kills=False, takeovers=False)
    assert bounds_seen(world) == {NOTHING}


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
        before = {
            uid: world.may_hold(uid).at_least(world.may_follow(uid)) for uid in LENT.entitlements
        }
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
                if number >= 32 and admitter.name == world.home(uid):
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
