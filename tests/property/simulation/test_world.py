"""The world: every request ends once, the same seed tells the same story, failures free nothing."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.units import PPM, US_PER_S, TokenCounts
from simulation.catalog import PAPER_1
from simulation.engine import SlotEngineSpec
from simulation.percentiles import p99
from simulation.policy import Ask, Denied, Ended, Granted, NotNow, Policy, Unknown, Usage
from simulation.rivals.none import NoAdmission
from simulation.rivals.paper_rule import PaperRule
from simulation.rivals.windowed import WindowedReserve
from simulation.world.measures import Measures, Outcome, throttled_ppm, ttfts_from_admission_us
from simulation.world.scenario import (
    Behaviour,
    DoorChoice,
    Manners,
    ReplicaChange,
    Scenario,
)
from simulation.world.story import Story
from simulation.world.world import World
from tests.property.examples import examples
from tests.unit.simulation.worlds import PAPER_POOL, SPEC

MakePolicy = Callable[[Pool], Policy]
POLICIES: dict[str, MakePolicy] = {
    "none": NoAdmission,
    "windowed": WindowedReserve,
    "windowed, 3 doors": lambda pool: WindowedReserve(pool, doors=3, shared=False),
    "paper-rule": PaperRule,
}
HALF = SlotEngineSpec(tokens_per_s=120, slots=8)

behaviours = st.builds(
    Behaviour,
    manners=st.sampled_from(Manners),
    doors=st.sampled_from(DoorChoice),
    attempts_max=st.integers(1, 6),
    patience_us=st.integers(0, 40 * US_PER_S),
    pause_us=st.integers(1, 5 * US_PER_S),
    max_tokens_percent=st.integers(100, 400),
    cached_input_percent=st.integers(0, 100),
    abort_ppm=st.integers(0, PPM // 2),
    abort_within_us=st.integers(0, 12 * US_PER_S),
    vanish_ppm=st.integers(0, PPM // 4),
)
timelines = st.lists(
    st.builds(
        ReplicaChange,
        at_us=st.integers(0, 60 * US_PER_S),
        ready=st.integers(0, 3),
        hard=st.booleans(),
    ),
    max_size=6,
).map(tuple)


def paper_1(seed: int, **changes: object) -> Scenario:
    whole = Scenario(
        pool=PAPER_POOL,
        traffic=PAPER_1,
        seed=seed,
        duration_us=PAPER_1.duration_s * US_PER_S,
        engine=SPEC,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]  # replace checks the names


class Ledger:
    """A policy that admits up to a limit and checks that each handle ends at most once."""

    name = "ledger"
    doors = 2

    def __init__(self, limit: int) -> None:
        self.running: set[str] = set()
        self.ended: set[str] = set()
        self.metered: dict[str, int] = {}
        self.settled: dict[str, int] = {}
        self._limit = limit

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted | Denied | NotNow:
        if now_us % 7 == door:
            return NotNow(retry_in_us=30_000)
        if len(self.running) >= self._limit:
            return Denied(reason="contended", retry_after_us=400_000)
        assert ask.request_id not in self.running | self.ended
        self.running.add(ask.request_id)
        return Granted(handle=ask.request_id, door=door, served_class=ServiceClass.SPOT)

    def renew(self, handle: str, *, door: int, output_tokens: int, now_us: int) -> Unknown:
        raise AssertionError("nothing is to be renewed")

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended:
        self.running.remove(handle)
        self.ended.add(handle)
        self.settled[handle] = used.total
        return Ended(first=True)

    def meter(self, usage: Usage, *, now_us: int) -> None:
        request_id = usage.request_id
        self.metered[request_id] = self.metered.get(request_id, 0) + usage.counts.total

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        """It has a limit of its own."""

    def replicas_wanted(self, *, now_us: int) -> int | None:
        return None

    def next_event_us(self) -> int | None:
        return None

    def advance(self, *, now_us: int) -> None:
        """Nothing is to be done."""


@given(
    name=st.sampled_from(sorted(POLICIES)),
    seed=st.integers(0, 1_000),
    behaviour=behaviours,
    timeline=timelines,
)
@examples(40)
def test_every_request_ends_in_exactly_one_way(
    name: str, seed: int, behaviour: Behaviour, timeline: tuple[ReplicaChange, ...]
) -> None:
    scenario = paper_1(seed, behaviour=behaviour, timeline=timeline, engine=HALF, replicas=2)
    measures = World(scenario, POLICIES[name](PAPER_POOL)).run()

    for tally in measures.tallies.values():
        assert tally.outcomes.total() == tally.requests == len(tally.records)
        numbers = [record.number for record in tally.records]
        assert len(set(numbers)) == len(numbers)
        never = tally.outcomes[Outcome.GAVE_UP] + tally.outcomes[Outcome.REJECTED]
        pending = sum(
            record.admitted_us is None and record.outcome is Outcome.UNFINISHED
            for record in tally.records
        )
        assert tally.admitted + never + pending == tally.requests
        assert tally.attempts >= tally.admitted + tally.refused_attempts.total()
        assert tally.output_tokens == sum(record.output_tokens for record in tally.records)


@given(
    seed=st.integers(0, 1_000),
    limit=st.integers(1, 40),
    behaviour=behaviours,
    timeline=timelines,
)
@examples(40)
def test_what_is_settled_was_metered_and_nothing_is_settled_twice(
    seed: int, limit: int, behaviour: Behaviour, timeline: tuple[ReplicaChange, ...]
) -> None:
    policy = Ledger(limit)
    world = World(paper_1(seed, behaviour=behaviour, timeline=timeline, engine=HALF), policy)
    measures = world.run()

    outcomes: Counter[Outcome] = Counter()
    for tally in measures.tallies.values():
        outcomes += tally.outcomes
    assert len(policy.ended) == sum(
        outcomes[each] for each in (Outcome.COMPLETED, Outcome.ABORTED, Outcome.FAILED)
    )
    for handle, total in policy.settled.items():
        assert policy.metered.get(handle, 0) == total


@given(name=st.sampled_from(sorted(POLICIES)), seed=st.integers(0, 1_000), timeline=timelines)
@examples(20)
def test_no_more_run_than_there_are_slots_and_no_slot_is_idle_while_a_request_waits(
    name: str, seed: int, timeline: tuple[ReplicaChange, ...]
) -> None:
    scenario = paper_1(seed, timeline=timeline, engine=HALF, replicas=2)

    def check(now_us: int) -> None:
        engine = world.host.engine
        assert engine.running <= world.host.slots
        if engine.waiting:
            assert engine.running >= world.host.ready * HALF.slots

    world = World(scenario, POLICIES[name](PAPER_POOL), on_step=check)
    measures = world.run()

    last = measures.samples[-1]
    assert last.busy_slot_us <= last.slot_us


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_the_same_seed_gives_the_same_story_and_measures(name: str) -> None:
    def run(seed: int) -> tuple[str, Measures]:
        messy = Behaviour(abort_ppm=100_000, vanish_ppm=50_000, doors=DoorChoice.RANDOM)
        failure = ReplicaChange(at_us=40 * US_PER_S, ready=1, hard=True)
        scenario = paper_1(seed, behaviour=messy, timeline=(failure,), engine=HALF, replicas=2)
        story = Story(seed=seed, lines_max=10_000)
        measures = World(scenario, POLICIES[name](PAPER_POOL), tell=story.tell).run()
        return str(story), measures

    assert run(3) == run(3)
    assert run(3)[0] != run(4)[0]


def test_a_story_that_is_told_changes_nothing() -> None:
    quiet = World(paper_1(5), PaperRule(PAPER_POOL)).run()
    told = World(paper_1(5), PaperRule(PAPER_POOL), tell=Story(seed=5).tell).run()

    assert quiet == told


def test_a_fault_changes_no_arrival_and_no_other_tenant_s_faults() -> None:
    def arrived(scenario: Scenario) -> list[int]:
        measures = World(scenario, NoAdmission(PAPER_POOL)).run()
        return [each.first_attempt_us for each in measures.tallies["guaranteed-a"].records]

    messy = {"spot-b": Behaviour(abort_ppm=PPM // 2, vanish_ppm=PPM // 4)}

    assert sorted(arrived(paper_1(9))) == sorted(arrived(paper_1(9, behaviours=messy)))


def test_time_never_goes_back_and_each_step_is_counted() -> None:
    times: list[int] = []

    measures = World(paper_1(2), PaperRule(PAPER_POOL), on_step=times.append).run()

    assert times == sorted(times)
    assert measures.steps == len(times)


SEEDS = range(24)


@cache
def over_seeds(name: str) -> tuple[Measures, ...]:
    """Return experiment 1 with clients that do not come back: a 429 is a 429."""
    once = Behaviour(attempts_max=1)
    scenarios = [paper_1(seed, behaviour=once) for seed in SEEDS]
    return tuple(World(scenario, POLICIES[name](PAPER_POOL)).run() for scenario in scenarios)


def guaranteed_p99_s(measures: Measures) -> float:
    records = [record for tally in measures.of(ServiceClass.GUARANTEED) for record in tally.records]
    return (p99(ttfts_from_admission_us(records)) or 0) / US_PER_S


def test_without_admission_control_the_paper_s_baseline_comes_out() -> None:
    """arXiv 2603.00356: 34 waiting and 19+ s at the end of phase 2; ours over the seeds."""
    runs = over_seeds("none")

    waiting = statistics.mean(each.waiting_max for each in runs)
    assert 28 <= waiting <= 38
    assert 15 <= statistics.mean(guaranteed_p99_s(each) for each in runs) <= 20


def test_the_paper_s_rule_throttles_spot_by_about_half_and_still_lets_guaranteed_wait() -> None:
    """The paper says 47 % and less than 1.2 s; its strict rule gives about 40 % and 2 s."""
    runs = over_seeds("paper-rule")

    overload = [
        throttled_ppm(each.tallies["spot-b"].between(30 * US_PER_S, 60 * US_PER_S)) / PPM
        for each in runs
    ]
    assert 0.35 <= statistics.mean(overload) <= 0.5
    assert 1 <= statistics.mean(guaranteed_p99_s(each) for each in runs) <= 2.5
    assert statistics.mean(each.waiting_max for each in runs) < 4


def test_static_windows_neither_protect_the_guaranteed_nor_use_the_pool() -> None:
    """They do not know that the pool is full, so the queue grows beyond the paper's rule."""
    windowed, rule = over_seeds("windowed"), over_seeds("paper-rule")

    assert statistics.mean(guaranteed_p99_s(each) for each in windowed) > statistics.mean(
        guaranteed_p99_s(each) for each in rule
    )
