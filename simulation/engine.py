"""Engine: when a model server would start, first answer and finish each request.

``Engine`` is what the replayer and the virtual-clock world need of any engine model.
``SlotEngine`` is the paper's: replicas of ``concurrency`` slots, one queue (first come, first
served), every slot working at ``perReplica.tokensPerSecond ÷ concurrency`` on input and output
tokens alike; the first token appears after a short prefill.  Nothing here reads a clock: every
call is given its time in microseconds (virtual or wall), and times never go back.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.units import US_PER_S, Resources, ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request for the engine; ``id`` is the caller's and unique among unfinished jobs."""

    id: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What happened to a job, or will unless it is cancelled."""

    arrived_us: int
    started_us: int
    first_token_us: int
    completed_us: int
    replica: int


@dataclass(frozen=True, slots=True)
class Started:
    """A job that left the queue; its later times hold unless it is cancelled."""

    job: Job
    timing: Timing


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that is done."""

    job: Job
    timing: Timing


EngineEvent = Started | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job has come; ``timing`` is None while it waits."""

    timing: Timing | None
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A job whose replica is gone, and what it had produced."""

    job: Job
    progress: Progress


class Engine(Protocol):
    """A model server as a discrete-event model."""

    def submit(self, job: Job, *, now_us: int) -> None:
        """Put the job at the end of the queue; it starts at once where there is room."""

    def cancel(self, job_id: int, *, now_us: int) -> Progress:
        """Take the job out, waiting or running; return what it had produced."""

    def progress(self, job_id: int, *, now_us: int) -> Progress:
        """Return how far an unfinished job has come."""

    def advance(self, *, now_us: int) -> Sequence[EngineEvent]:
        """Return what happened up to ``now_us``, in order, and was not returned before."""

    def next_event_us(self) -> int | None:
        """Return when ``advance`` will have something to say; None when nothing runs."""

    def resize(self, ready: int, *, now_us: int) -> None:
        """Serve with this many replicas; those above drain: they finish what they run."""

    def fail(self, ready: int, *, now_us: int) -> Sequence[Lost]:
        """Lose all replicas above this number at once, and the jobs that they run."""

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""

    @property
    def running(self) -> int:
        """Jobs that are being served."""

    @property
    def draining(self) -> int:
        """Replicas that take no more jobs and still run some."""


@dataclass(frozen=True, kw_only=True)
class SlotEngineSpec:
    """The constants of the slot engine."""

    tokens_per_s: int
    """Of one replica with all its slots busy, input and output tokens together."""
    slots: int
    """Of one replica."""
    prefill_us: int = 200_000

    @classmethod
    def of(cls, per_replica: Resources, *, prefill_us: int = 200_000) -> SlotEngineSpec:
        """Return the engine of a pool's per-replica capacity."""
        return cls(
            tokens_per_s=per_replica.tokens_per_s, slots=per_replica.slots, prefill_us=prefill_us
        )

    def service_us(self, job: Job) -> int:
        """Return how long a slot works on the job, rounded up to a microsecond."""
        tokens = job.input_tokens + job.output_tokens
        return max(1, ceil_div(tokens * self.slots * US_PER_S, self.tokens_per_s))


@dataclass(slots=True)
class _Replica:
    number: int
    running: int = 0
    draining: bool = False


class SlotEngine:
    """The paper's engine (see the module): a state that only its methods change."""

    def __init__(self, spec: SlotEngineSpec, *, replicas: int) -> None:
        self._spec = spec
        self._replicas = {number: _Replica(number) for number in range(replicas)}
        self._next_replica = replicas
        self._draining = 0
        self._queue: dict[int, tuple[Job, int]] = {}
        self._running: dict[int, tuple[Job, Timing]] = {}
        self._ends: list[tuple[int, int]] = []
        """A heap of (end, id); what no longer runs until then is dropped when it comes up."""
        self._events: list[EngineEvent] = []
        self._now_us = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def ready(self) -> int:
        """Replicas that take jobs."""
        return len(self._replicas) - self._draining

    @property
    def draining(self) -> int:
        return self._draining

    def submit(self, job: Job, *, now_us: int) -> None:
        assert job.id not in self._queue
        assert job.id not in self._running
        self._run_until(now_us)
        self._queue[job.id] = (job, now_us)
        self._start_waiting(now_us)

    def cancel(self, job_id: int, *, now_us: int) -> Progress:
        self._run_until(now_us)
        progress = self.progress(job_id, now_us=now_us)
        if self._queue.pop(job_id, None) is None and job_id in self._running:
            self._leave(job_id)
            self._start_waiting(now_us)
        return progress

    def progress(self, job_id: int, *, now_us: int) -> Progress:
        if job_id in self._running:
            job, timing = self._running[job_id]
            return Progress(timing=timing, output_tokens=produced(job, timing, now_us=now_us))
        for event in self._events:
            if isinstance(event, Finished) and event.job.id == job_id:
                return Progress(timing=event.timing, output_tokens=event.job.output_tokens)
        assert job_id in self._queue
        return Progress(timing=None, output_tokens=0)

    def advance(self, *, now_us: int) -> Sequence[EngineEvent]:
        self._run_until(now_us)
        events, self._events = self._events, []
        return events

    def next_event_us(self) -> int | None:
        return self._now_us if self._events else self._next_end_us()

    def resize(self, ready: int, *, now_us: int) -> None:
        """See ``Engine``; growing takes draining replicas back first, the busiest of them."""
        assert ready >= 0
        self._run_until(now_us)
        while self.ready < ready:
            self._add_replica()
        while self.ready > ready:
            self._idlest().draining = True
            self._draining += 1
        self._drop_drained()
        self._start_waiting(now_us)

    def fail(self, ready: int, *, now_us: int) -> Sequence[Lost]:
        """See ``Engine``; the busiest replicas are lost, so that a failure is never lucky."""
        assert ready >= 0
        self._run_until(now_us)
        lost: list[Lost] = []
        while self.ready > ready:
            lost += self._lose(self._busiest(), now_us=now_us)
        return lost

    def _lose(self, replica: _Replica, *, now_us: int) -> list[Lost]:
        lost = [
            Lost(job, self.progress(job.id, now_us=now_us))
            for job, timing in self._running.values()
            if timing.replica == replica.number
        ]
        for each in lost:
            del self._running[each.job.id]
        del self._replicas[replica.number]
        return lost

    def _serving(self) -> list[_Replica]:
        return [replica for replica in self._replicas.values() if not replica.draining]

    def _idlest(self) -> _Replica:
        return min(self._serving(), key=lambda replica: (replica.running, -replica.number))

    def _busiest(self) -> _Replica:
        return max(self._serving(), key=lambda replica: (replica.running, -replica.number))

    def _add_replica(self) -> None:
        draining = [replica for replica in self._replicas.values() if replica.draining]
        if draining:
            max(draining, key=lambda replica: replica.running).draining = False
            self._draining -= 1
            return
        self._replicas[self._next_replica] = _Replica(self._next_replica)
        self._next_replica += 1

    def _run_until(self, now_us: int) -> None:
        """Finish, in order, what ends up to ``now_us``; each end lets the next job start."""
        assert now_us >= self._now_us
        while (end_us := self._next_end_us()) is not None and end_us <= now_us:
            _, job_id = heapq.heappop(self._ends)
            job, timing = self._running[job_id]
            self._leave(job_id)
            self._events.append(Finished(job, timing))
            self._start_waiting(end_us)
        self._now_us = now_us

    def _next_end_us(self) -> int | None:
        while self._ends:
            end_us, job_id = self._ends[0]
            running = self._running.get(job_id)
            if running is not None and running[1].completed_us == end_us:
                return end_us
            heapq.heappop(self._ends)
        return None

    def _leave(self, job_id: int) -> None:
        _, timing = self._running.pop(job_id)
        replica = self._replicas[timing.replica]
        replica.running -= 1
        if replica.draining:
            self._drop_drained()

    def _drop_drained(self) -> None:
        drained = [
            replica.number
            for replica in self._replicas.values()
            if replica.draining and not replica.running
        ]
        for number in drained:
            del self._replicas[number]
        self._draining -= len(drained)

    def _start_waiting(self, now_us: int) -> None:
        while self._queue and (replica := self._roomiest()) is not None:
            job_id = next(iter(self._queue))
            job, arrived_us = self._queue.pop(job_id)
            replica.running += 1
            timing = self._timing(job, arrived_us=arrived_us, now_us=now_us, replica=replica)
            self._running[job_id] = (job, timing)
            heapq.heappush(self._ends, (timing.completed_us, job_id))
            self._events.append(Started(job, timing))

    def _roomiest(self) -> _Replica | None:
        """Return the replica with most free slots, the oldest of equals; None when all are full."""
        roomiest = None
        for replica in self._replicas.values():
            if replica.draining or replica.running >= self._spec.slots:
                continue
            if roomiest is None or replica.running < roomiest.running:
                roomiest = replica
        return roomiest

    def _timing(self, job: Job, *, arrived_us: int, now_us: int, replica: _Replica) -> Timing:
        completed_us = now_us + self._spec.service_us(job)
        return Timing(
            arrived_us=arrived_us,
            started_us=now_us,
            first_token_us=min(now_us + self._spec.prefill_us, completed_us),
            completed_us=completed_us,
            replica=replica.number,
        )


def produced(job: Job, timing: Timing, *, now_us: int) -> int:
    """Return the output tokens at ``now_us``: one at the first token, then evenly, rounded down."""
    if now_us < timing.first_token_us or not job.output_tokens:
        return 0
    if now_us >= timing.completed_us:
        return job.output_tokens
    elapsed_us = now_us - timing.first_token_us
    lasting_us = timing.completed_us - timing.first_token_us
    return 1 + (job.output_tokens - 1) * elapsed_us // lasting_us
