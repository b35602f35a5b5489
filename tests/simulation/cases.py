"""Cases: everything that a seed decides about one simulated world.

A case is a pool of some family, 1, 2, 4 or 8 admitters, tenants that are idle, within their part or
far above it by turns, good and bad manners, lost and returning replicas, and faults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final

from schemas.pools import Entitlement, Pool
from schemas.units import US_PER_S
from simulation.engine import SlotEngineSpec
from simulation.gaps import GapFamily
from simulation.lengths import between
from simulation.pools.faults import HARSH, MILD, NONE, Delivery, FaultKind, Faults, Span
from simulation.workloads import Phase, TenantStream, Workload
from simulation.world.scenario import Behaviour, DoorChoice, Manners, ReplicaChange, Scenario
from tests.simulation.families import FAMILIES, TOKENS_PER_S_OF_A_SLOT, pool_of

DURATION_S: Final = 24
DRAIN_S: Final = 10
DOORS: Final = (1, 2, 2, 4, 4, 8)


def _apart(preset: Faults) -> Faults:
    """Return the preset without owners that stand still: states are lost and overtaken in it.

    A partition is one order, so whoever has not seen a successor's state sees none of the former
    owner's after it.  A reader that loses or reorders states is as deaf as one may be; together
    with a former owner that goes on, it would follow what a broker never shows it.
    """
    timed = dict(preset.timed)
    del timed[FaultKind.OWNER_PAUSE]
    return replace(preset, timed=timed)


OWNERS: Final = replace(
    HARSH,
    name="owners",
    states=Delivery(delay_ms_max=1_500, repeated_ppm=100_000),
    timed={
        FaultKind.OWNER_PAUSE: Span(every_s=5, ms_min=3_000, ms_max=4_500),
        FaultKind.CRASH: HARSH.timed[FaultKind.CRASH],
    },
)
"""Owners that stand still a little longer than a session lasts, and wake beside their successor."""
TAKEOVERS: Final = replace(
    OWNERS,
    name="takeovers",
    states=HARSH.states,
    timed={FaultKind.OWNER_PAUSE: Span(every_s=3, ms_min=3_000, ms_max=3_400)},
)
"""The same before readers that lose and reorder states: worse than a broker, and never drawn."""
FAULTS: Final = {each.name: each for each in (NONE, _apart(MILD), _apart(HARSH), OWNERS, TAKEOVERS)}
DRAWN: Final = ("none", "none", "mild", "mild", "mild", "harsh", "harsh", "owners")
LOADS_PERCENT: Final = (0, 40, 90, 150, 300)
"""Of what the entitlement was promised, or of an even part of the pool."""
REQUESTS_PER_S_MAX: Final = 12


@dataclass(frozen=True)
class Case:
    """One world of the campaign."""

    seed: int
    family: str
    doors: int
    faults: Faults
    scenario: Scenario

    def __str__(self) -> str:
        pool = self.scenario.pool
        return (
            f"seed={self.seed} family={self.family} admitters={self.doors} "
            f"faults={self.faults.name} tick={pool.policy.tick_ms} ms "
            f"replicas={self.scenario.replicas} slots={pool.per_replica.slots} each"
        )


def case_of(seed: int, *, faults: str = "", family: str = "", doors: int = 0) -> Case:
    """Return the case of a seed; what is named is not drawn."""
    rng = Random(f"{seed}/case")
    drawn_family, drawn_doors = rng.choice(list(FAMILIES)), rng.choice(DOORS)
    drawn_faults = rng.choice(DRAWN)
    family = family or drawn_family
    pool = pool_of(family, Random(f"{seed}/pool"))
    replicas = pool.replicas_max
    scenario = Scenario(
        pool=pool,
        traffic=_traffic(pool, replicas, Random(f"{seed}/traffic")),
        seed=seed,
        duration_us=DURATION_S * US_PER_S,
        drain_us=DRAIN_S * US_PER_S,
        engine=SlotEngineSpec.of(pool.per_replica, prefill_us=50_000),
        replicas=replicas,
        timeline=_timeline(replicas, Random(f"{seed}/replicas")),
        behaviours=_behaviours(pool, Random(f"{seed}/behaviours")),
        partial_us=rng.choice((1, 5)) * US_PER_S,
        sample_us=10 * US_PER_S,
    )
    preset = FAULTS[faults or drawn_faults]
    return Case(seed, family, doors or drawn_doors, preset, scenario)


def _traffic(pool: Pool, replicas: int, rng: Random) -> Workload:
    streams = tuple(
        _stream(pool, entitlement, replicas=replicas, rng=rng)
        for entitlement in pool.entitlements.values()
    )
    return Workload(name="campaign", about="", duration_s=DURATION_S, streams=streams)


def _stream(pool: Pool, entitlement: Entitlement, *, replicas: int, rng: Random) -> TenantStream:
    """Return a tenant's requests, of about the size that its KV cache was measured for."""
    mean = rng.randint(30, 100)
    half = mean // 2
    slots = entitlement.baseline.slots
    if slots == 0:
        slots = max(1, pool.per_replica.slots * replicas // len(pool.entitlements))
    per_1000s = slots * TOKENS_PER_S_OF_A_SLOT * 1_000 // mean
    phases, start_s = [], 0
    while start_s < DURATION_S:
        end_s = min(DURATION_S, start_s + rng.randint(3, 12))
        rate = per_1000s * rng.choice(LOADS_PERCENT) // 100
        rate = min(rate, REQUESTS_PER_S_MAX * 1_000)
        phases.append(Phase(start_s=start_s, end_s=end_s, requests_per_1000s=rate))
        start_s = end_s
    return TenantStream(
        tenant=entitlement.tenant,
        phases=tuple(phases),
        gaps=rng.choice((GapFamily.POISSON, GapFamily.GAMMA)),
        cv_percent=rng.choice((100, 200)),
        input_tokens=between(1, max(1, half)),
        output_tokens=between(1, max(1, mean + half)),
    )


def _timeline(replicas: int, rng: Random) -> tuple[ReplicaChange, ...]:
    """Return replicas lost, some of them with what they run, and most of them coming back."""
    if rng.random() < 0.5:
        return ()
    changes, at_s = [], 0
    for _ in range(rng.randint(1, 2)):
        at_s += rng.randint(3, 10)
        left = rng.randint(0, max(0, replicas - 1))
        changes.append(ReplicaChange(at_us=at_s * US_PER_S, ready=left, hard=rng.random() < 0.5))
        at_s += rng.randint(2, 6)
        back = rng.choice((replicas, replicas, max(left, replicas - 1)))
        changes.append(ReplicaChange(at_us=at_s * US_PER_S, ready=back))
    return tuple(changes)


def _behaviours(pool: Pool, rng: Random) -> dict[str, Behaviour]:
    return {uid: _behaviour(rng) for uid in pool.entitlements}


def _behaviour(rng: Random) -> Behaviour:
    mishaps = rng.random() < 0.4
    return Behaviour(
        manners=Manners.IMPOLITE if rng.random() < 0.3 else Manners.POLITE,
        doors=rng.choice(list(DoorChoice)),
        attempts_max=rng.choice((1, 3, 8)),
        patience_us=rng.choice((5, 20)) * US_PER_S,
        pause_us=rng.choice((200_000, 1_000_000)),
        max_tokens_percent=rng.choice((100, 100, 150, 300)),
        cached_input_percent=rng.choice((0, 0, 50)),
        allow_demotion=rng.random() < 0.3,
        can_renew=rng.random() < 0.75,
        abort_ppm=100_000 if mishaps else 0,
        abort_within_us=3 * US_PER_S,
        vanish_ppm=50_000 if mishaps else 0,
    )
