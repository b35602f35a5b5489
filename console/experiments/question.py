"""Question: from the options of ``simulate`` to a what-if question, as ``run`` would read them.

Pools file, mapping, clients' retries, prefill and start delay are those of ``run``; the seeds draw
a workload again and again, a trace is the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from console.poolsfile import PoolsFile
from console.traffic import speed_ppm, survey_said
from schemas.errors import SettingsError
from schemas.pools import Pool, compile_pool
from schemas.units import PPM, US_PER_MS, Resources
from simulation.catalog import WORKLOADS
from simulation.experiments.cases import WhatIf
from simulation.mapping import sentence
from simulation.traces.recorded import Recorded
from simulation.workloads import Workload
from simulation.world.scenario import Behaviour, Scaling

AUTO = "auto"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line says, apart from seeds and policies."""

    pools: PoolsFile
    pool: str
    """Empty: the only one in the file."""
    trace: Path | None
    workload: str
    """Empty: the pools file's."""
    replicas: int | str | None
    """A number, ``auto``, or None: the least that the pool may have."""
    admitters: int
    speed: str
    limit_s: int | None
    scale_capacity: bool


def question_of(asked: Asked, *, say: Say) -> WhatIf:
    """Return the question; raise ``SettingsError`` when options contradict each other."""
    speed = speed_ppm(asked.speed)
    pool = _pool(asked)
    traffic = _traffic(asked, speed=speed, say=say)
    say(sentence(asked.pools.replay.mapping.tenants))
    section = asked.pools.replay
    is_scaled = asked.replicas == AUTO
    return WhatIf(
        pool=_scaled(pool, speed) if asked.scale_capacity else pool,
        traffic=traffic,
        mapping=section.mapping.tenants,
        replicas=asked.replicas if isinstance(asked.replicas, int) else None,
        scaling=Scaling(
            replicas_min=pool.replicas_min,
            replicas_max=pool.replicas_max,
            delay_us=section.engine.start_delay_ms * US_PER_MS,
        )
        if is_scaled
        else None,
        admitters=asked.admitters,
        prefill_ms=section.engine.prefill_ms,
        behaviour=Behaviour(attempts_max=section.clients.retries_max + 1),
    )


def _pool(asked: Asked) -> Pool:
    pools = {each.pool.name: each for each in asked.pools.records}
    names: Sequence[str] = list(pools)
    if asked.pool and asked.pool not in pools:
        raise SettingsError(f"--pool {asked.pool!r}: the file has {', '.join(names)}")
    if not asked.pool and len(names) > 1:
        raise SettingsError(f"--pool: say which of {', '.join(names)} to simulate")
    return compile_pool(pools[asked.pool or names[0]])


def _traffic(asked: Asked, *, speed: int, say: Say) -> Workload | Recorded:
    if asked.trace is not None and asked.workload:
        raise SettingsError("--trace and --workload exclude each other")
    if asked.trace is not None:
        facts = survey_said(asked.trace, limit_s=asked.limit_s, say=say)
        if not facts.rows:
            raise SettingsError(f"--trace {asked.trace}: has no requests to simulate")
        return Recorded(path=asked.trace, span_us=facts.span_us, speed_ppm=speed)
    name = asked.workload or asked.pools.replay.workload
    if name not in WORKLOADS:
        known = ", ".join(WORKLOADS)
        raise SettingsError(f"--workload {name!r}: known are {known}; or give --trace")
    workload = WORKLOADS[name]
    say(f"workload {name}: {workload.about}")
    duration_s = min(workload.duration_s, asked.limit_s or workload.duration_s)
    return replace(workload, duration_s=duration_s, speed_ppm=speed)


def _scaled(pool: Pool, speed: int) -> Pool:
    """Return the pool with every replica's capacity multiplied by the speed, rounded down."""
    each = pool.per_replica
    return msgspec.structs.replace(
        pool,
        per_replica=Resources(
            each.tokens_per_s * speed // PPM,
            each.kv_bytes * speed // PPM,
            each.slots * speed // PPM,
        ),
    )
