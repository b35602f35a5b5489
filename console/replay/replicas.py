"""Replicas: one pool's simulated replicas, obeying scale decisions after a start delay.

What ``pool-capacity`` is told comes from here; sending it is ``capacity``'s business.
"""

from __future__ import annotations

from console.replay.clock import NowUs
from console.replay.model_server import ModelServer
from console.replay.plan import ReplayPlan, ReplicaChange
from console.replay.stats import PoolSnapshot
from schemas.capacity import PoolCapacity, WriterRank
from schemas.pools import Pool
from schemas.scaling import ScaleDecision
from schemas.units import US_PER_MS
from simulation.engine import SlotEngine, SlotEngineSpec
from simulation.fleet import Fleet, matured, obey

WRITER = "replayer"


class PoolReplicas:
    """The replicas of one pool and the model server that they are."""

    def __init__(self, pool: Pool, plan: ReplayPlan, *, now_us: NowUs) -> None:
        self.pool = pool
        self._plan = plan
        self._now_us = now_us
        self._started_us = now_us()
        self._per_replica = plan.per_replica(pool)
        self._fleet = Fleet(ready=pool.replicas_min)
        spec = SlotEngineSpec.of(self._per_replica, prefill_us=plan.prefill_us)
        engine = SlotEngine(spec, replicas=pool.replicas_min)
        self.server = ModelServer(engine, now_us=now_us)
        self.changes = [ReplicaChange(offset_us=0, pool=pool.name, ready=pool.replicas_min)]
        self._scheduled = [each for each in plan.replica_schedule if each.pool == pool.name]

    def decided(self, decision: ScaleDecision) -> None:
        """Obey a decision made since the replay began; older ones were for somebody else."""
        if decision.pool != self.pool.name or decision.at_us < self._started_us:
            return
        desired = min(max(decision.desired, self.pool.replicas_min), self.pool.replicas_max)
        self._become(
            obey(
                self._fleet,
                desired,
                now_us=self._now_us(),
                start_delay_us=self._plan.start_delay_ms * US_PER_MS,
            )
        )

    def turn(self) -> None:
        """Let starting replicas become ready, and follow the schedule where there is one."""
        self._become(matured(self._fleet, now_us=self._now_us()))
        while self._scheduled and self._scheduled[0].offset_us <= self._offset_us():
            self._become(Fleet(ready=self._scheduled.pop(0).ready))

    def capacity(self) -> PoolCapacity:
        """Return what to report now."""
        return PoolCapacity(
            pool=self.pool.name,
            writer=WRITER,
            rank=WriterRank.REPLAYER,
            ready=self._fleet.ready,
            starting=self._fleet.starting,
            draining=self.server.engine.draining,
            per_replica=self._per_replica,
            at_us=self._now_us(),
            ttl_ms=self._plan.limits.capacity_ttl_ms,
        )

    def snapshot(self) -> PoolSnapshot:
        """Return what the live view shows."""
        engine = self.server.engine
        return PoolSnapshot(
            pool=self.pool.name,
            ready=self._fleet.ready,
            starting=self._fleet.starting,
            draining=engine.draining,
            running=engine.running,
            waiting=engine.waiting,
        )

    def _become(self, fleet: Fleet) -> None:
        if fleet.ready != self._fleet.ready:
            self.server.resize(fleet.ready)
            self.changes.append(
                ReplicaChange(offset_us=self._offset_us(), pool=self.pool.name, ready=fleet.ready)
            )
        self._fleet = fleet

    def _offset_us(self) -> int:
        return self._now_us() - self._started_us
