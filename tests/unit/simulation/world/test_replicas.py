"""Replicas: failures, recoveries and scaling, as the policy and the requests see them."""

from dataclasses import replace

from schemas.units import US_PER_S
from simulation.engine import Job, SlotEngine, SlotEngineSpec
from simulation.world.measures import Outcome
from simulation.world.scenario import ReplicaChange, Scaling, Scenario
from simulation.world.story import Story
from simulation.world.world import World
from tests.unit.simulation.worlds import SERVICE_US, Scripted, arrivals, scenario

HALF = SlotEngineSpec(tokens_per_s=120, slots=8)
"""Half of the paper's engine: a failure of one of two leaves 8 slots."""


def two_replicas(*changes: ReplicaChange, requests: int) -> Scenario:
    traffic = arrivals(*[0.0] * requests)
    return replace(scenario(traffic), engine=HALF, replicas=2, timeline=changes)


def test_a_hard_failure_ends_what_the_replica_runs_and_settles_it_once() -> None:
    policy = Scripted()
    failure = ReplicaChange(at_us=4 * US_PER_S, ready=1, hard=True)

    world = World(two_replicas(failure, requests=16), policy)
    measures = world.run()

    outcomes = measures.tallies["tenant"].outcomes
    assert outcomes == {Outcome.FAILED: 8, Outcome.COMPLETED: 8}
    handles = [handle for _, _, handle, *_ in policy.settled]
    assert sorted(handles) == sorted({f"h-r{number}" for number in range(1, 17)})
    assert [usage.final for usage in policy.metered].count(True) == 16
    assert (world.host.engine.running, world.host.engine.waiting) == (0, 0)


def test_a_soft_failure_lets_the_replica_finish_what_it_runs() -> None:
    policy = Scripted()
    drain = ReplicaChange(at_us=4 * US_PER_S, ready=1)

    measures = World(two_replicas(drain, requests=16), policy).run()

    assert measures.tallies["tenant"].outcomes == {Outcome.COMPLETED: 16}
    assert policy.sizes == [
        (0, 2, 0, 0),
        (4 * US_PER_S, 1, 0, 1),
        (SERVICE_US, 1, 0, 0),
    ]


def test_after_a_failure_the_queue_waits_for_the_slots_that_are_left() -> None:
    outage = ReplicaChange(at_us=1, ready=1, hard=True)
    recovery = ReplicaChange(at_us=20 * US_PER_S, ready=2)
    traffic = arrivals(*[1.0] * 24)
    whole = scenario(traffic)

    measures = World(
        replace(whole, engine=HALF, replicas=2, timeline=(outage, recovery)), Scripted()
    ).run()

    assert measures.waiting_max == 16
    assert measures.replica_changes == [(0, 2), (1, 1), (20 * US_PER_S, 2)]
    waits = sorted(
        record.ttft_from_admission_us - HALF.prefill_us
        for record in measures.tallies["tenant"].records
        if record.ttft_from_admission_us is not None
    )
    assert waits == [0] * 8 + [SERVICE_US] * 8 + [2 * SERVICE_US] * 8


def test_a_replica_that_was_asked_for_serves_after_the_delay() -> None:
    policy = Scripted(wanted=3)
    scaling = Scaling(replicas_min=1, replicas_max=2, delay_us=10 * US_PER_S)

    measures = World(replace(scenario(arrivals(0)), scaling=scaling), policy).run()

    assert policy.sizes == [(0, 1, 0, 0), (US_PER_S, 1, 1, 0), (11 * US_PER_S, 2, 0, 0)]
    assert measures.replica_changes == [(0, 1), (11 * US_PER_S, 2)]


def test_replicas_that_are_no_longer_wanted_drain() -> None:
    policy = Scripted(wanted=1)
    scaling = Scaling(replicas_min=1, replicas_max=2)

    measures = World(
        replace(scenario(arrivals(*[0.0] * 16)), engine=HALF, replicas=2, scaling=scaling),
        policy,
    ).run()

    assert policy.sizes == [(0, 2, 0, 0), (US_PER_S, 1, 0, 1), (SERVICE_US, 1, 0, 0)]
    assert measures.tallies["tenant"].outcomes == {Outcome.COMPLETED: 16}


def test_a_lost_replica_takes_its_jobs_along_and_frees_nothing_twice() -> None:
    engine = SlotEngine(HALF, replicas=2)
    for number in range(20):
        engine.submit(Job(id=number, input_tokens=64, output_tokens=64), now_us=0)

    lost = engine.fail(1, now_us=4_000_000)

    assert len(lost) == 8
    assert {each.progress.output_tokens for each in lost} == {29}
    assert (engine.ready, engine.draining, engine.running, engine.waiting) == (1, 0, 8, 4)
    engine.resize(2, now_us=4_000_000)
    assert (engine.running, engine.waiting) == (12, 0)
    engine.advance(now_us=60_000_000)
    assert (engine.running, engine.waiting, engine.next_event_us()) == (0, 0, None)
    assert engine.fail(2, now_us=60_000_000) == []


def test_the_story_tells_of_replicas() -> None:
    story = Story(seed=1)
    failure = ReplicaChange(at_us=4 * US_PER_S, ready=1, hard=True)

    World(two_replicas(failure, requests=1), Scripted(), tell=story.tell).run()

    assert "    4.000000  replicas              now           1 ready, 0 draining" in story.lines()


def test_slots_of_draining_replicas_count_as_available_time() -> None:
    drain = ReplicaChange(at_us=1, ready=1)

    measures = World(two_replicas(drain, requests=16), Scripted()).run()

    assert measures.utilisation_ppm(0, 8 * US_PER_S) <= 1_000_000
    assert measures.samples[1].slots == 2 * HALF.slots
