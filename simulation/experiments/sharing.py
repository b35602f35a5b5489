"""Sharing: how often does a tenant that stays within its floor meet an admitter that has no room?

A guaranteed tenant of ``floor`` slots whose traffic is thinned so that it never wants more, beside
spot that fills the pool.  The floor is the tenant's right at the pool; an admitter that holds only
a part of it answers ``share_exhausted`` and names the home.  Measured for 1, 2, 4 and 8 admitters,
asked in turn, with small floors kept whole at their home and with every floor split, and with
gateways that go home once and that do not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from schemas.pools import Pool, compile_pool
from schemas.specs import Amounts, Leases, PoolRecord, PoolSpec, ServiceClass
from schemas.units import US_PER_S, ceil_div
from simulation.arrivals import Arrival
from simulation.experiments.cases import WhatIf
from simulation.experiments.one import RunOutcome
from simulation.experiments.policies import POLICIES
from simulation.experiments.setups import KV_BYTES_PER_TOKEN, TOKENS_PER_SLOT_S, entitlement
from simulation.experiments.statistics import Figure, figure_of
from simulation.experiments.tasks import Progress, Task, run_tasks
from simulation.lengths import exactly
from simulation.workloads import TenantStream, Workload, generate, phases
from simulation.world.scenario import Behaviour, Manners

ADMITTERS: Final = (1, 2, 4, 8)
FLOORS_SLOTS: Final = (6, 24)
DURATION_S: Final = 60
TENANT: Final = "guaranteed-a"
SPOT: Final = "spot-b"
SPLIT_SLOTS: Final = Leases().split_slots
"""Below so many slots per admitter a floor stays whole at its home (``leases.splitSlots``)."""
REQUEST_TOKENS: Final = 64
"""Of input, and of output."""
RESIDENCE_PERCENT: Final = 110
"""What a request is taken to last, of its service time: it may wait for a slot of the engine."""


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """One line of the table."""

    floor_slots: int
    admitters: int
    has_homes: bool
    """Small floors are kept whole at their home; else every floor is split."""
    goes_home: bool
    """Gateways take a ``share_exhausted`` refusal to the home, once."""


@dataclass(frozen=True, kw_only=True)
class SharingRow:
    """What one arrangement gives, over the seeds."""

    arrangement: Arrangement
    exhausted_rate: Figure
    """Part of the attempts whose first answer was ``share_exhausted``."""
    refused_rate: Figure
    """Part of the attempts that were refused for good, inside the floor."""
    requests: int
    """Of the guaranteed tenant, over all seeds."""


ARRANGEMENTS: Final = tuple(
    Arrangement(
        floor_slots=floor_slots, admitters=admitters, has_homes=has_homes, goes_home=goes_home
    )
    for floor_slots in FLOORS_SLOTS
    for admitters in ADMITTERS
    for has_homes in (True, False)
    for goes_home in (True, False)
    if admitters > 1 or (has_homes and goes_home)
)


def sharing_table(
    *,
    seeds: Sequence[int],
    arrangements: Sequence[Arrangement] = ARRANGEMENTS,
    jobs: int = 1,
    progress: Progress | None = None,
) -> tuple[SharingRow, ...]:
    """Return the table, line by line."""
    tasks = [_task(arrangement, seed=seed) for arrangement in arrangements for seed in seeds]
    outcomes = run_tasks(tasks, jobs=jobs, progress=progress)
    return tuple(
        _row(arrangement, outcomes[number * len(seeds) :][: len(seeds)])
        for number, arrangement in enumerate(arrangements)
    )


def _row(arrangement: Arrangement, runs: Sequence[RunOutcome]) -> SharingRow:
    requests = [run.entitlements[TENANT]["requests"] for run in runs]
    refused = [run.figures["guaranteed_floor_refusals"] for run in runs]
    return SharingRow(
        arrangement=arrangement,
        exhausted_rate=figure_of([run.figures["share_exhausted_rate"] for run in runs]),
        refused_rate=figure_of([each / of for each, of in zip(refused, requests, strict=True)]),
        requests=int(sum(requests)),
    )


def _task(arrangement: Arrangement, *, seed: int) -> Task:
    manners = Manners.POLITE if arrangement.goes_home else Manners.IMPOLITE
    question = WhatIf(
        pool=sharing_pool(arrangement),
        traffic=tuple(sharing_traffic(arrangement.floor_slots, seed=seed)),
        admitters=arrangement.admitters,
        behaviour=Behaviour(manners=manners, attempts_max=1),
    )
    return Task(case=question.case(), choice=POLICIES["token-pools"], seed=seed)


def sharing_pool(arrangement: Arrangement) -> Pool:
    """Return a pool of twice the floor, the tenant's and spot's."""
    slots = 2 * arrangement.floor_slots
    per_replica = Amounts(
        tokens_per_second=Decimal(slots * TOKENS_PER_SLOT_S),
        kv_cache_gib=Decimal(slots),
        concurrency=slots,
    )
    spec = PoolSpec(
        name="sharing",
        model="sim-8b",
        per_replica=per_replica,
        kv_bytes_per_token=KV_BYTES_PER_TOKEN,
        headroom=1,
        leases=Leases(split_slots=SPLIT_SLOTS if arrangement.has_homes else 0),
    )
    entitlements = (
        entitlement(TENANT, "sharing", ServiceClass.GUARANTEED, slots=arrangement.floor_slots),
        entitlement(SPOT, "sharing", ServiceClass.SPOT),
    )
    return compile_pool(PoolRecord(pool=spec, entitlements=entitlements))


def sharing_traffic(floor_slots: int, *, seed: int) -> Iterator[Arrival]:
    """Yield both tenants' requests; the guaranteed one never wants more than its floor."""
    wanted = {TENANT: floor_slots, SPOT: 2 * floor_slots}
    service_s = ceil_div(2 * REQUEST_TOKENS, TOKENS_PER_SLOT_S)
    workload = Workload(
        name="sharing",
        about="a guaranteed tenant within its floor, and spot",
        duration_s=DURATION_S,
        streams=tuple(
            TenantStream(
                tenant=uid,
                phases=phases((0, DURATION_S, slots * 1_000 // service_s)),
                input_tokens=exactly(REQUEST_TOKENS),
                output_tokens=exactly(REQUEST_TOKENS),
            )
            for uid, slots in wanted.items()
        ),
    )
    residence_us = 2 * REQUEST_TOKENS * US_PER_S * RESIDENCE_PERCENT // (100 * TOKENS_PER_SLOT_S)
    return thinned(
        generate(workload, seed=seed), TENANT, slots=floor_slots, residence_us=residence_us
    )


def thinned(
    arrivals: Iterable[Arrival], tenant: str, *, slots: int, residence_us: int
) -> Iterator[Arrival]:
    """Yield the arrivals without those of the tenant that would find so many of its own there."""
    ends_us: list[int] = []
    for arrival in arrivals:
        if arrival.tenant == tenant:
            while ends_us and ends_us[0] <= arrival.offset_us:
                heapq.heappop(ends_us)
            if len(ends_us) >= slots:
                continue
            heapq.heappush(ends_us, arrival.offset_us + residence_us)
        yield arrival
