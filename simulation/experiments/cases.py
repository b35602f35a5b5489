"""Cases: all that the runs of one result have in common, ready to be sent to other processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.pools import Pool
from schemas.units import US_PER_MS, US_PER_S
from simulation.arrivals import Arrival
from simulation.engine import SlotEngineSpec
from simulation.experiments.figures import Frame
from simulation.experiments.policies import Choice
from simulation.experiments.setups import Setup
from simulation.mapping import TenantMapping
from simulation.traces.recorded import Recorded
from simulation.workloads import Workload
from simulation.world.scenario import Behaviour, ReplicaChange, Scaling, Scenario

DRAIN_S: Final = 60
"""How long a run goes on after the last request came."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A pool, its traffic and what happens, for any policy and seed."""

    name: str
    about: str
    pool: Pool
    traffic: Workload | Recorded | Sequence[Arrival]
    mapping: TenantMapping
    replicas: int
    timeline: tuple[ReplicaChange, ...]
    scaling: Scaling | None = None
    duration_us: int
    scarce_us: tuple[int, int]
    has_outage: bool
    admitters: int
    engine: SlotEngineSpec
    behaviour: Behaviour
    marks_s: Mapping[str, tuple[float, float]]
    partial_ms: int = 5_000
    """A request that lasts longer is metered this often."""

    def scenario(self, choice: Choice, *, seed: int) -> Scenario:
        """Return the world of one run."""
        return Scenario(
            pool=choice.adapted(self.pool),
            traffic=self.traffic,
            seed=seed,
            duration_us=self.duration_us,
            drain_us=DRAIN_S * US_PER_S,
            engine=self.engine,
            replicas=self.replicas,
            timeline=self.timeline,
            scaling=self.scaling,
            partial_us=self.partial_ms * US_PER_MS,
            mapping=self.mapping,
            behaviour=replace(self.behaviour, allow_demotion=choice.allow_demotion),
        )

    def frame(self, choice: Choice) -> Frame:
        """Return what the measures of a run are read against."""
        return Frame(
            pool=choice.adapted(self.pool),
            end_us=self.duration_us,
            scarce_us=self.scarce_us,
            has_outage=self.has_outage,
            prefill_us=self.engine.prefill_us,
        )


def case_of(setup: Setup, *, admitters: int, headroom_slots: int | None) -> Case:
    """Return the case of one of the paper's experiments."""
    start_us, end_us = setup.scarce.start_s * US_PER_S, setup.scarce.end_s * US_PER_S
    outage = (
        ReplicaChange(at_us=start_us, ready=setup.replicas_scarce),
        ReplicaChange(at_us=end_us, ready=setup.replicas),
    )
    word = "outage" if setup.has_outage else "overload"
    return Case(
        name=setup.name,
        about=setup.about,
        pool=setup.with_headroom(headroom_slots),
        traffic=setup.traffic,
        mapping=TenantMapping(),
        replicas=setup.replicas,
        timeline=outage if setup.has_outage else (),
        duration_us=setup.traffic.duration_s * US_PER_S,
        scarce_us=(start_us, end_us),
        has_outage=setup.has_outage,
        admitters=admitters,
        engine=SlotEngineSpec.of(setup.pool.per_replica),
        behaviour=setup.behaviour,
        marks_s={word: (setup.scarce.start_s, setup.scarce.end_s)},
    )


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """A user's question: this pool and this traffic on so many replicas."""

    pool: Pool
    traffic: Workload | Recorded | Sequence[Arrival]
    """Of a workload every seed is another draw; of a trace only what else is drawn differs."""
    mapping: TenantMapping = field(default_factory=TenantMapping)
    replicas: int | None = None
    """None: the least that the pool may have."""
    scaling: Scaling | None = None
    """Replicas follow what the policy asks for, from ``replicas`` on."""
    admitters: int = 1
    prefill_ms: int = 200
    behaviour: Behaviour = field(default_factory=Behaviour)

    def case(self) -> Case:
        """Return what its runs have in common."""
        pool, duration_us = self.pool, _duration_us(self.traffic)
        replicas = pool.replicas_min if self.replicas is None else self.replicas
        return Case(
            name="what-if",
            about=f"pool {pool.name}, {_count(replicas, scaled=self.scaling is not None)}",
            pool=pool,
            traffic=self.traffic,
            mapping=self.mapping,
            replicas=replicas,
            timeline=(),
            scaling=self.scaling,
            duration_us=duration_us,
            scarce_us=(0, duration_us),
            has_outage=False,
            admitters=self.admitters,
            engine=SlotEngineSpec.of(pool.per_replica, prefill_us=self.prefill_ms * US_PER_MS),
            behaviour=self.behaviour,
            marks_s={},
        )


def _count(replicas: int, *, scaled: bool) -> str:
    words = f"{replicas} replica" + ("" if replicas == 1 else "s")
    return f"{words} at first, then what the policy's autoscaler asks for" if scaled else words


def _duration_us(traffic: Workload | Recorded | Sequence[Arrival]) -> int:
    if isinstance(traffic, Workload | Recorded):
        return traffic.duration_us
    return 1 + max((arrival.offset_us for arrival in traffic), default=0)
