"""Scenario: everything that a world is told before it starts; the policy is not part of it.

A scenario is plain data: the same one with the same seed gives the same tenants, faults and
engine to every policy.  Each concern draws from a random stream of its own, named after the seed,
so a fault that is added changes neither the arrivals nor another fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schemas.pools import Pool
from schemas.units import US_PER_S, ceil_div
from simulation.arrivals import Arrival
from simulation.engine import SlotEngineSpec
from simulation.mapping import TenantMapping
from simulation.workloads import Workload, generate

RECORDS_MAX: Final = 2_000_000
"""Requests of which a world keeps a record; of later ones it keeps only the counts."""
SAMPLES_MAX: Final = 20_000
"""Points of a series; a longer world is sampled more rarely."""


class Manners(StrEnum):
    """How a tenant takes a refusal."""

    POLITE = "polite"
    """Waits for Retry-After, returns the ticket, follows home once."""
    IMPOLITE = "impolite"
    """Comes back after a pause of its own, at another door, without the ticket."""


class DoorChoice(StrEnum):
    """Which door a tenant's gateway asks first."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    STICKY = "sticky"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One tenant's manners and mishaps; chances are in ppm of its requests."""

    manners: Manners = Manners.POLITE
    doors: DoorChoice = DoorChoice.ROUND_ROBIN
    attempts_max: int = 5
    """1: never comes back."""
    patience_us: int = 30 * US_PER_S
    """From its first attempt; a retry that would come later is not made."""
    pause_us: int = US_PER_S
    """Of an impolite tenant."""
    max_tokens_percent: int = 100
    """What it asks for, of what it will get; 100: it knows its answer's length."""
    cached_input_percent: int = 0
    """Of its input; cached tokens cost the engine nothing."""
    allow_demotion: bool = False
    can_renew: bool = True
    abort_ppm: int = 0
    """Closes the connection within ``abort_within_us`` of being admitted."""
    abort_within_us: int = 10 * US_PER_S
    vanish_ppm: int = 0
    """Its gateway is lost within ``abort_within_us``: no settlement, no last usage event."""
    forget_ppm: int = 0
    """Its gateway never renews the reservation: it runs out, and is settled late."""

    @property
    def has_mishaps(self) -> bool:
        """Whether anything is drawn for its requests."""
        return bool(self.abort_ppm or self.vanish_ppm or self.forget_ppm)

    def max_tokens(self, output_tokens: int) -> int:
        """Return what is asked for when this many will come, rounded up."""
        return max(1, ceil_div(output_tokens * self.max_tokens_percent, 100))


@dataclass(frozen=True, kw_only=True)
class ReplicaChange:
    """From this instant there are so many replicas, whatever anybody decided before."""

    at_us: int
    ready: int
    hard: bool = False
    """Those above are lost with what they run; else they drain."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Replicas follow ``Policy.replicas_wanted``; one is ready some time after it was asked for."""

    replicas_min: int
    replicas_max: int
    delay_us: int = 60 * US_PER_S
    every_us: int = US_PER_S
    """How often the policy is asked."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One world.  ``traffic`` is iterated once per run: a sequence can be run again."""

    pool: Pool
    traffic: Workload | Iterable[Arrival]
    seed: int
    duration_us: int
    """Arrivals later than this are not sent."""
    drain_us: int = 60 * US_PER_S
    """How much longer the world goes on; what has not ended then is ``unfinished``."""
    engine: SlotEngineSpec
    replicas: int = 1
    timeline: tuple[ReplicaChange, ...] = ()
    scaling: Scaling | None = None
    mapping: TenantMapping = field(default_factory=TenantMapping)
    behaviours: Mapping[str, Behaviour] = field(default_factory=dict)
    """By entitlement."""
    behaviour: Behaviour = Behaviour()
    """Of all others."""
    partial_us: int = 5 * US_PER_S
    """A request that lasts longer emits a usage event this often."""
    sample_us: int = US_PER_S
    """Distance of the points of the series (``SAMPLES_MAX``)."""
    records_max: int = RECORDS_MAX

    def arrivals(self) -> Iterator[Arrival]:
        """Return the requests in order of time."""
        if isinstance(self.traffic, Workload):
            return generate(self.traffic, seed=self.seed)
        return iter(self.traffic)

    def behaviour_of(self, uid: str) -> Behaviour:
        """Return how the tenant of this entitlement behaves."""
        return self.behaviours.get(uid, self.behaviour)

    @property
    def end_us(self) -> int:
        """When the world stops."""
        return self.duration_us + self.drain_us

    @property
    def sampling_us(self) -> int:
        """The distance of the points that the bound on their number allows."""
        return max(self.sample_us, ceil_div(self.end_us, SAMPLES_MAX))
