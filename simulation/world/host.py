"""Host: the engine with its replicas: a timeline of failures and recoveries, and scaling.

The policy is told of every change of ready, starting and draining replicas when it happens.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulation.engine import Engine, EngineEvent, Lost, SlotEngineSpec
from simulation.fleet import Fleet, matured, obey
from simulation.policy import Policy
from simulation.world.scenario import ReplicaChange, Scaling


class Host:
    """The engine, and how many replicas it has."""

    def __init__(
        self, engine: Engine, spec: SlotEngineSpec, *, replicas: int, policy: Policy
    ) -> None:
        self.engine = engine
        self.busy_slot_us = 0
        self.slot_us = 0
        self._slots_per_replica = spec.slots
        self._fleet = Fleet(ready=replicas)
        self._policy = policy
        self._told: tuple[int, int, int] | None = None

    @property
    def ready(self) -> int:
        """Replicas that take requests."""
        return self._fleet.ready

    @property
    def slots(self) -> int:
        """Slots of ready and draining replicas."""
        return (self._fleet.ready + self.engine.draining) * self._slots_per_replica

    def pass_time(self, elapsed_us: int) -> None:
        """Let the state of now last for so long."""
        self.busy_slot_us += self.engine.running * elapsed_us
        self.slot_us += self.slots * elapsed_us

    def tell(self, *, now_us: int) -> bool:
        """Tell the policy how many replicas there are; return whether that is news."""
        numbers = (self._fleet.ready, self._fleet.starting, self.engine.draining)
        if numbers == self._told:
            return False
        self._told = numbers
        ready, starting, draining = numbers
        self._policy.resize(ready=ready, starting=starting, draining=draining, now_us=now_us)
        return True

    def advance(self, *, now_us: int) -> Sequence[EngineEvent]:
        """Return what happened in the engine."""
        return self.engine.advance(now_us=now_us)

    def change(self, change: ReplicaChange, *, now_us: int) -> Sequence[Lost]:
        """Follow the timeline: replicas that were starting are gone as well."""
        lost: Sequence[Lost] = ()
        if change.hard:
            lost = self.engine.fail(change.ready, now_us=now_us)
        self._become(Fleet(ready=change.ready), now_us=now_us)
        return lost

    def scale(self, scaling: Scaling, *, now_us: int) -> None:
        """Let what has started serve, and obey the policy's autoscaler."""
        fleet = matured(self._fleet, now_us=now_us)
        wanted = self._policy.replicas_wanted(now_us=now_us)
        if wanted is not None:
            desired = min(max(wanted, scaling.replicas_min), scaling.replicas_max)
            fleet = obey(fleet, desired, now_us=now_us, start_delay_us=scaling.delay_us)
        self._become(fleet, now_us=now_us)

    def _become(self, fleet: Fleet, *, now_us: int) -> None:
        if fleet.ready != self._fleet.ready:
            self.engine.resize(fleet.ready, now_us=now_us)
        self._fleet = fleet
