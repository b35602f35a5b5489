"""Token pools under a virtual clock: what holds without faults, and after each kind of fault."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from msgspec import structs

from admission.core.staleness import Freshness
from schemas.units import US_PER_S, Held
from simulation.policy import Policy
from simulation.pools.faults import (
    HARSH,
    MILD,
    NONE,
    Delivery,
    FaultKind,
    Faults,
    Stage,
    TimedFault,
)
from simulation.pools.tokenpools import TokenPools
from tests.unit.simulation.pools.small_world import SmallWorld, small_pool

LONG_S = 110
"""Long enough for the last requests to end, and for what dead admitters held to run out."""


def reconciled(world: SmallWorld) -> bool:
    """Say whether the present owner's ledger is what it must be where it stands."""
    ledger = world.pools.ledger
    assert ledger is not None
    return {uid: each.tokens for uid, each in ledger.items()} == world.pools.expected.tokens


def open_reservations(world: SmallWorld) -> int:
    return sum(len(gate.reservations) for gate in world.pools.gates())


@pytest.mark.parametrize("doors", [1, 2, 4, 8])
def test_without_faults_everything_reconciles_and_ends(doors: int) -> None:
    world = SmallWorld("calm", doors=doors)

    world.run(60, arrivals_until_s=30)

    assert world.granted > 30
    assert (world.ended, world.unknown) == (world.granted, 0)
    assert open_reservations(world) == 0
    assert reconciled(world)
    assert world.pools.expected.tokens == world.emitted


@pytest.mark.parametrize("faults", [NONE, MILD, HARSH], ids=lambda faults: faults.name)
def test_the_same_seed_tells_the_same_story(faults: Faults) -> None:
    worlds = [SmallWorld("twin", doors=4, faults=faults) for _ in range(2)]

    for world in worlds:
        world.run(25, arrivals_until_s=25)

    first, second = worlds
    assert first.story == second.story
    assert first.pools.message_counts == second.pools.message_counts
    assert first.pools.happened == second.pools.happened


def test_the_order_of_sets_in_a_process_is_no_part_of_the_story() -> None:
    code = (
        "from tests.unit.simulation.pools.small_world import SmallWorld\n"
        "from simulation.pools.faults import HARSH\n"
        "world = SmallWorld('hash', doors=4, faults=HARSH)\n"
        "world.run(20, arrivals_until_s=20)\n"
        "print(*world.story, sep='\\n')\n"
    )
    stories = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert stories[0].count("\n") > 100
    assert stories[0] == stories[1]


def test_another_rate_of_one_fault_leaves_the_others_where_they_were() -> None:
    fewer = Faults(timed={FaultKind.KILL: MILD.timed[FaultKind.KILL]})
    both = Faults(timed={kind: MILD.timed[kind] for kind in (FaultKind.KILL, FaultKind.CRASH)})
    kills = []
    for faults in (fewer, both):
        world = SmallWorld("apart", doors=2, faults=faults)
        world.run(70, arrivals_until_s=1)
        kills.append([each for each in world.pools.happened if each.kind is FaultKind.KILL])

    assert kills[0]
    assert kills[0] == kills[1]


@pytest.mark.parametrize("stage", list(Stage))
def test_a_takeover_keeps_the_order_of_versions_and_every_token(stage: Stage) -> None:
    crash = TimedFault(
        at_us=10 * US_PER_S, kind=FaultKind.CRASH, lasts_us=2 * US_PER_S, stage=stage
    )
    world = SmallWorld("crash", doors=2, ordered=(crash,))

    world.run(60, arrivals_until_s=30)

    versions = [each.version for each in world.pools.published]
    assert versions == sorted(versions)
    assert versions[-1].generation == 2
    assert world.pools.generation == 2
    assert reconciled(world)
    assert world.pools.expected.tokens == world.emitted
    assert world.ended == world.granted


def test_a_former_owner_that_wakes_publishes_and_nobody_follows_it() -> None:
    pause = TimedFault(at_us=10 * US_PER_S, kind=FaultKind.OWNER_PAUSE, lasts_us=8 * US_PER_S)
    faults = Faults(zombie_ms_max=3_000)
    world = SmallWorld("zombie", doors=2, faults=faults, ordered=(pause,))
    followed: list[tuple[int, ...]] = []
    world.on_step = lambda w: followed.append(
        tuple(0 if d.desk is None else d.desk.version.generation for d in w.pools.admitters)
    )

    world.run(60, arrivals_until_s=30)

    generations = [each.version.generation for each in world.pools.published]
    assert 1 in generations[generations.index(2) :]
    assert all(before <= after for before, after in pairwise(followed))
    assert followed[-1] == (2, 2)
    assert reconciled(world)
    assert world.pools.former_owners == ()


def test_what_a_killed_admitter_had_open_is_adopted_and_ends_once() -> None:
    kills = tuple(
        TimedFault(at_us=at_s * US_PER_S, kind=FaultKind.KILL, door=door, lasts_us=2 * US_PER_S)
        for at_s, door in ((10, 0), (18, 1))
    )
    world = SmallWorld("kill", doors=2, ordered=kills)
    lost = 0

    def look(seen: SmallWorld) -> None:
        nonlocal lost
        lost = max(lost, len(seen.pools.graves))

    world.on_step = look

    world.run(60, arrivals_until_s=30)

    assert lost > 0
    assert world.adopted > 0
    assert len(world.pools.graves) == 0
    assert world.unknown == 0
    assert open_reservations(world) == 0
    assert reconciled(world)


def test_an_admitter_that_wakes_after_it_was_declared_dead_begins_again() -> None:
    pool = small_pool()
    dead_us = pool.leases.lease_ms * 1_000 + pool.leases.hold_seconds * US_PER_S
    pause = TimedFault(
        at_us=10 * US_PER_S, kind=FaultKind.PAUSE, door=1, lasts_us=dead_us + 10 * US_PER_S
    )
    world = SmallWorld("sleeper", doors=2, ordered=(pause,))

    world.run(LONG_S, arrivals_until_s=20)

    assert world.pools.admitters[1].incarnation == "a1-2"
    assert any("declared dead" in line for line in world.story)


def test_a_silent_controller_leaves_the_operator_in_charge() -> None:
    silence = TimedFault(
        at_us=10 * US_PER_S, kind=FaultKind.CAPACITY_SILENCE, lasts_us=20 * US_PER_S
    )
    world = SmallWorld("silence", ordered=(silence,))
    writers: set[str] = set()
    world.on_step = lambda w: writers.update(
        each.tick.inputs.capacity_writer for each in w.pools.ticks[-1:]
    )

    world.run(40, arrivals_until_s=20)

    assert writers == {"controller", "operator"}
    assert world.pools.capacity_now == world.pools.ready_now


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("faults", [MILD, HARSH], ids=lambda faults: faults.name)
def test_whatever_goes_wrong_the_ledger_is_exact(seed: int, faults: Faults) -> None:
    world = SmallWorld(f"{seed}", doors=(1, 2, 4, 8)[seed % 4], faults=faults)

    def check(seen: SmallWorld) -> None:
        if seen.pools.ledger is not None:
            assert reconciled(seen), f"seed={seed}"
            read = [counts.read for counts in seen.pools.verdict_counts]
            assert read == list(seen.pools.events_read)

    world.on_step = check

    world.run(30, arrivals_until_s=28)


def test_another_spec_reaches_every_process_and_what_a_removed_entitlement_held_ends() -> None:
    world = SmallWorld("spec", doors=4, faults=MILD)
    pool = world.pool
    kept = {uid: each for uid, each in pool.entitlements.items() if uid != "elastic-a"}
    changed = structs.replace(pool, version=pool.version + 1, entitlements=kept)
    world.at(20 * US_PER_S, lambda now_us: world.pools.respec(changed, now_us=now_us))

    world.run(70, arrivals_until_s=35)

    pools, record = world.pools, world.pools.record
    assert record is not None
    assert {gate.desks[pool.name].spec.version for gate in pools.gates()} == {changed.version}
    assert record.state[0].spec_version == changed.version
    assert world.denied["unknown_entitlement"] > 0
    assert (pools.held(), record.held) == (Held(), Held())


def test_no_fault_begins_after_the_calm() -> None:
    calm = replace(HARSH, calm_after_us=10 * US_PER_S)
    world = SmallWorld("calm after", doors=4, faults=calm)

    world.run(40, arrivals_until_s=10)

    assert world.pools.happened
    assert max(each.at_us for each in world.pools.happened) <= 10 * US_PER_S


@pytest.mark.parametrize(("seed", "doors"), [("x", 2), ("y", 4), ("z", 8)])
def test_once_faults_have_ceased_everything_is_as_if_they_had_never_been(
    seed: str, doors: int
) -> None:
    ceases = replace(HARSH, calm_after_us=15 * US_PER_S, states=Delivery(), reports=Delivery())
    world = SmallWorld(seed, doors=doors, faults=ceases)

    world.run(LONG_S, arrivals_until_s=LONG_S - 30)

    pools, record = world.pools, world.pools.record
    assert record is not None
    alive = sorted(each.incarnation for each in record.admitters if each.alive)
    assert alive == sorted(door.incarnation for door in pools.admitters)
    assert {door.desk.freshness for door in pools.admitters if door.desk} == {Freshness.FRESH}
    assert (pools.held(), record.held, len(pools.graves)) == (Held(), Held(), 0)
    assert (world.unknown, world.ended) == (0, world.granted)
    assert reconciled(world)


def test_token_pools_are_a_policy() -> None:
    policy: Policy = TokenPools(small_pool(), seed="type")

    assert (policy.name, policy.doors) == ("token-pools", 1)
