"""The slot engine: work is conserved, the queue is fair, slots are never exceeded."""

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from simulation.engine import (
    EngineEvent,
    Finished,
    Job,
    SlotEngine,
    SlotEngineSpec,
    Started,
    produced,
)

SPEC = SlotEngineSpec(tokens_per_s=400, slots=4, prefill_us=50_000)
END_US = 10**12

jobs = st.lists(
    st.tuples(st.integers(0, 3_000_000), st.integers(0, 300), st.integers(0, 300)),
    min_size=1,
    max_size=40,
)
sizes = st.lists(st.tuples(st.integers(0, 60_000_000), st.integers(0, 3)), max_size=6)


def run(
    arrivals: Sequence[tuple[int, int, int]], resizes: Sequence[tuple[int, int]] = ()
) -> tuple[list[EngineEvent], dict[int, Job]]:
    """Feed jobs (gap, input, output) and sizes (at, replicas), then let all of it finish."""
    engine = SlotEngine(SPEC, replicas=1)
    steps: list[tuple[int, Job | int]] = list(resizes)
    at_us, by_id = 0, {}
    for number, (gap_us, input_tokens, output_tokens) in enumerate(arrivals):
        at_us += gap_us
        job = Job(id=number, input_tokens=input_tokens, output_tokens=output_tokens)
        by_id[number] = job
        steps.append((at_us, job))
    events: list[EngineEvent] = []
    for step_us, step in sorted(steps, key=lambda each: each[0]):
        if isinstance(step, Job):
            engine.submit(step, now_us=step_us)
        else:
            engine.resize(step, now_us=step_us)
        events += engine.advance(now_us=step_us)
        assert engine.running <= SPEC.slots * (engine.ready + engine.draining)
    engine.resize(1, now_us=max(at_us, 60_000_000))
    return [*events, *engine.advance(now_us=END_US)], by_id


@given(jobs, sizes)
def test_every_job_starts_once_and_finishes_once(
    arrivals: list[tuple[int, int, int]], resizes: list[tuple[int, int]]
) -> None:
    events, by_id = run(arrivals, resizes)

    started = [event.job.id for event in events if isinstance(event, Started)]
    finished = [event.job.id for event in events if isinstance(event, Finished)]
    assert sorted(started) == sorted(by_id)
    assert sorted(finished) == sorted(by_id)


@given(jobs, sizes)
def test_jobs_start_in_the_order_in_which_they_came(
    arrivals: list[tuple[int, int, int]], resizes: list[tuple[int, int]]
) -> None:
    events, by_id = run(arrivals, resizes)

    started = [event.job.id for event in events if isinstance(event, Started)]
    assert started == list(by_id)


@given(jobs)
def test_no_more_jobs_run_at_once_than_there_are_slots(
    arrivals: list[tuple[int, int, int]],
) -> None:
    events, _ = run(arrivals)

    timings = [event.timing for event in events if isinstance(event, Finished)]
    for timing in timings:
        at_us = timing.started_us
        busy = sum(each.started_us <= at_us < each.completed_us for each in timings)
        assert busy <= SPEC.slots


@given(jobs)
def test_no_slot_is_idle_while_a_job_waits(arrivals: list[tuple[int, int, int]]) -> None:
    events, _ = run(arrivals)

    timings = [event.timing for event in events if isinstance(event, Finished)]
    for timing in timings:
        if timing.started_us > timing.arrived_us:
            before_us = timing.started_us - 1
            busy = sum(each.started_us <= before_us < each.completed_us for each in timings)
            assert busy == SPEC.slots


@given(jobs)
def test_a_job_takes_its_tokens_at_the_rate_of_one_slot(
    arrivals: list[tuple[int, int, int]],
) -> None:
    events, by_id = run(arrivals)

    for event in events:
        if isinstance(event, Finished):
            job, timing = by_id[event.job.id], event.timing
            tokens = job.input_tokens + job.output_tokens
            assert timing.completed_us - timing.started_us == max(1, tokens * 10_000)
            assert timing.started_us <= timing.first_token_us <= timing.completed_us


@given(jobs, sizes)
def test_the_order_of_events_is_the_order_of_time(
    arrivals: list[tuple[int, int, int]], resizes: list[tuple[int, int]]
) -> None:
    events, _ = run(arrivals, resizes)

    at_us = [
        event.timing.completed_us if isinstance(event, Finished) else event.timing.started_us
        for event in events
    ]
    assert at_us == sorted(at_us)


@given(st.integers(1, 400), st.integers(0, 400), st.integers(0, 10_000_000))
def test_output_only_grows_and_ends_at_what_was_asked(
    input_tokens: int, output_tokens: int, offset_us: int
) -> None:
    job = Job(id=1, input_tokens=input_tokens, output_tokens=output_tokens)
    engine = SlotEngine(SPEC, replicas=1)
    engine.submit(job, now_us=0)
    timing = engine.progress(1, now_us=0).timing

    assert timing is not None
    now = produced(job, timing, now_us=offset_us)
    assert 0 <= now <= produced(job, timing, now_us=offset_us + 1) <= output_tokens
    assert produced(job, timing, now_us=timing.completed_us) == output_tokens


def test_a_cancelled_job_frees_its_slot_for_the_next() -> None:
    engine = SlotEngine(SlotEngineSpec(tokens_per_s=100, slots=1), replicas=1)
    engine.submit(Job(id=1, input_tokens=50, output_tokens=50), now_us=0)
    engine.submit(Job(id=2, input_tokens=50, output_tokens=50), now_us=0)

    progress = engine.cancel(1, now_us=600_000)

    assert progress.output_tokens == 25
    assert (engine.running, engine.waiting) == (1, 0)
    assert [event.timing.started_us for event in engine.advance(now_us=700_000)] == [0, 600_000]


def test_a_job_that_was_cancelled_and_came_back_takes_its_whole_time_again() -> None:
    engine = SlotEngine(SPEC, replicas=1)
    job = Job(id=1, input_tokens=50, output_tokens=50)
    sooner = Job(id=2, input_tokens=50, output_tokens=40)
    engine.submit(job, now_us=0)
    engine.submit(sooner, now_us=0)
    engine.cancel(1, now_us=400_000)
    engine.submit(job, now_us=400_000)

    events = engine.advance(now_us=1_399_999)

    assert [event.job.id for event in events] == [1, 2, 1, 2]
    assert isinstance(events[-1], Finished)
    assert engine.next_event_us() == 1_400_000


def test_a_replica_that_is_taken_away_finishes_what_it_runs() -> None:
    engine = SlotEngine(SPEC, replicas=2)
    for number in range(8):
        engine.submit(Job(id=number, input_tokens=100, output_tokens=100), now_us=0)

    engine.resize(1, now_us=1)
    engine.submit(Job(id=8, input_tokens=100, output_tokens=100), now_us=2)

    assert (engine.ready, engine.draining, engine.running, engine.waiting) == (1, 1, 8, 1)
    engine.advance(now_us=2_000_000)
    assert (engine.ready, engine.draining, engine.running, engine.waiting) == (1, 0, 1, 0)


def test_growing_takes_a_draining_replica_back() -> None:
    engine = SlotEngine(SPEC, replicas=2)
    for number in range(8):
        engine.submit(Job(id=number, input_tokens=100, output_tokens=100), now_us=0)
    engine.resize(1, now_us=1)

    engine.resize(2, now_us=2)

    assert (engine.ready, engine.draining) == (2, 0)


def test_the_paper_s_baseline_queue_grows_to_about_34() -> None:
    """arXiv 2603.00356, experiment 1: 22 slots wanted of 16, 30 to 60 s, no admission control."""
    peaks = [_peak_of_experiment_1(seed) for seed in range(20)]

    assert 26 <= sum(peaks) / len(peaks) <= 42


def _peak_of_experiment_1(seed: int) -> int:
    from simulation.catalog import PAPER_1
    from simulation.workloads import generate

    engine = SlotEngine(SlotEngineSpec(tokens_per_s=240, slots=16), replicas=1)
    rng = random.Random(seed)
    peak = 0
    for number, arrival in enumerate(generate(PAPER_1, seed=rng.randrange(1 << 30))):
        job = Job(
            id=number,
            input_tokens=arrival.input_tokens,
            output_tokens=arrival.output_tokens,
        )
        engine.submit(job, now_us=arrival.offset_us)
        peak = max(peak, engine.waiting)
    return peak
