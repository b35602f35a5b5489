"""World: tenants, engine and faults under a virtual clock, around one policy.

    measures = World(scenario, policy).run()

Time begins at 0 and is in microseconds; a policy that writes wall times into messages adds a
constant of its own.  One *step* is one event: of the policy (``advance``), of the engine, or of the
world's agenda.  Of events at the same time the policy's come first, then the engine's, then the
world's in the order in which they were noted.  The same scenario gives the same steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from simulation.arrivals import Arrival
from simulation.engine import Engine, SlotEngine
from simulation.mapping import Mapper
from simulation.policy import HasPriorities, Policy
from simulation.world.agenda import Agenda
from simulation.world.gateway import Gateway
from simulation.world.host import Host
from simulation.world.measures import Line, Measures, Sample, Tally
from simulation.world.register import Register
from simulation.world.running import Running
from simulation.world.scenario import ReplicaChange, Scaling, Scenario
from simulation.world.story import Tell
from simulation.world.tenants import Tenants

OnStep = Callable[[int], None]
"""Called after every step with the time of it."""


class World:
    """One run of a scenario; ``run`` it, or call ``step`` until it returns False."""

    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        *,
        on_step: OnStep | None = None,
        tell: Tell | None = None,
        engine: Engine | None = None,
    ) -> None:
        """``engine``: another model than the slot engine that the scenario names."""
        self.scenario = scenario
        self.policy = policy
        self.now_us = 0
        self.measures = _empty_measures(scenario, policy)
        self._on_step = on_step
        self._tell = tell
        self._agenda = Agenda()
        self.host = Host(
            engine or SlotEngine(scenario.engine, replicas=scenario.replicas),
            scenario.engine,
            replicas=scenario.replicas,
            policy=policy,
        )
        gateways = _gateways(scenario, policy, self.measures)
        self._register = Register(
            self.measures, self._agenda, records_max=scenario.records_max, tell=tell
        )
        self._running = Running(scenario, gateways, register=self._register, host=self.host)
        self._tenants = Tenants(scenario, gateways, register=self._register, running=self._running)
        self._mapper = Mapper(
            scenario.mapping,
            [(each.uid, each.tenant) for each in scenario.pool.entitlements.values()],
        )
        self._arrivals = scenario.arrivals()
        self._next_sample_us = 0
        self._sampling_us = scenario.sampling_us
        self._end_us = scenario.end_us
        self._ranked = policy if isinstance(policy, HasPriorities) else None
        self._has_ended = False
        self._begin()

    def run(self) -> Measures:
        """Run to the end and return what was measured."""
        while self.step():
            pass
        return self.measures

    def step(self) -> bool:
        """Let the next event happen; return False, and do nothing more, at the end."""
        policy_us, engine_us = self.policy.next_event_us(), self.host.engine.next_event_us()
        due_us = _soonest(policy_us, engine_us, self._agenda.next_us())
        if due_us is None or due_us > self._end_us:
            self._end()
            return False
        self._pass_time(max(due_us, self.now_us))
        if policy_us is not None and policy_us <= self.now_us:
            self.policy.advance(now_us=self.now_us)
        elif engine_us is not None and engine_us <= self.now_us:
            self._hear_engine()
        else:
            self._agenda.take()(self.now_us)
        self._after_step()
        return True

    def _begin(self) -> None:
        self.host.tell(now_us=0)
        self._note_replicas()
        for change in self.scenario.timeline:
            self._agenda.note(change.at_us, partial(self._change_replicas, change))
        if self.scenario.scaling is not None:
            self._note_scaling(self.scenario.scaling, now_us=0)
        self._note_arrival()

    def _after_step(self) -> None:
        if self.host.tell(now_us=self.now_us):
            self._note_replicas()
        measures, waiting = self.measures, self.host.engine.waiting
        measures.steps += 1
        measures.waiting_max = max(measures.waiting_max, waiting)
        if self._on_step is not None:
            self._on_step(self.now_us)

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._pass_time(self._end_us)
            self._running.stop_all(now_us=self._end_us)

    # traffic

    def _note_arrival(self) -> None:
        """Note the next arrival that somebody is charged for."""
        for arrival in self._arrivals:
            if arrival.offset_us >= self.scenario.duration_us:
                return
            uid = self._mapper.entitlement_of(arrival)
            if uid is None or uid not in self.measures.tallies:
                self.measures.left_out += 1
                continue
            self._agenda.note(arrival.offset_us, partial(self._arrive, arrival, uid))
            return

    def _arrive(self, arrival: Arrival, uid: str, now_us: int) -> None:
        self._note_arrival()
        self._tenants.arrive(arrival, uid, now_us=now_us)

    # engine

    def _hear_engine(self) -> None:
        for event in self.host.advance(now_us=self.now_us):
            self._running.hear(event, now_us=self.now_us)

    def _change_replicas(self, change: ReplicaChange, now_us: int) -> None:
        for lost in self.host.change(change, now_us=now_us):
            self._running.lose(lost, now_us=now_us)

    def _note_scaling(self, scaling: Scaling, *, now_us: int) -> None:
        self._agenda.note(now_us + scaling.every_us, partial(self._scale, scaling))

    def _scale(self, scaling: Scaling, now_us: int) -> None:
        self.host.scale(scaling, now_us=now_us)
        self._note_scaling(scaling, now_us=now_us)

    def _note_replicas(self) -> None:
        changes = self.measures.replica_changes
        if not changes or changes[-1][1] != self.host.ready:
            changes.append((self.now_us, self.host.ready))
        if self._tell is not None:
            draining = self.host.engine.draining
            self._tell(
                self.now_us, "replicas", "now", f"{self.host.ready} ready, {draining} draining"
            )

    # time

    def _pass_time(self, until_us: int) -> None:
        """Let the state of now last until then; take the samples that fall into that time."""
        while self._next_sample_us <= until_us:
            self._elapse(self._next_sample_us)
            self.measures.samples.append(self._sample())
            self._next_sample_us += self._sampling_us
        self._elapse(until_us)

    def _elapse(self, until_us: int) -> None:
        self.host.pass_time(until_us - self.now_us)
        self.now_us = until_us

    def _sample(self) -> Sample:
        engine = self.host.engine
        priorities = {} if self._ranked is None else self._ranked.priorities()
        return Sample(
            at_us=self.now_us,
            waiting=engine.waiting,
            running=engine.running,
            slots=self.host.slots,
            busy_slot_us=self.host.busy_slot_us,
            slot_us=self.host.slot_us,
            lines={
                uid: Line(
                    in_flight=self._register.in_flight[uid],
                    attempts=tally.attempts,
                    refusals=tally.refused_attempts.total(),
                    priority=priorities.get(uid),
                )
                for uid, tally in self.measures.tallies.items()
            },
        )


def _soonest(*times_us: int | None) -> int | None:
    """Return the first of the times that there are."""
    return min((each for each in times_us if each is not None), default=None)


def _gateways(scenario: Scenario, policy: Policy, measures: Measures) -> dict[str, Gateway]:
    """Return a gateway for each entitlement, which draws its doors from a stream of its own."""
    return {
        uid: Gateway(
            policy,
            tally,
            choice=scenario.behaviour_of(uid).doors,
            rng=random.Random(f"{scenario.seed}/doors/{uid}"),
        )
        for uid, tally in measures.tallies.items()
    }


def _empty_measures(scenario: Scenario, policy: Policy) -> Measures:
    return Measures(
        policy=policy.name,
        seed=scenario.seed,
        duration_us=scenario.duration_us,
        tallies={
            each.uid: Tally(uid=each.uid, service_class=each.service_class)
            for each in scenario.pool.entitlements.values()
        },
    )
