"""A small world to replay in: one pool, two entitlements, requests of 20 ms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from console.poolsfile import parse_pools
from console.replay.plan import ReplayLimits, ReplayPlan
from console.replay.record import RequestLine, read_lines
from schemas.pools import Pool, compile_pool
from simulation.arrivals import Arrival
from simulation.mapping import TenantMapping

POOLS = """
pools:
  - name: chat
    model: m
    replicas: {min: 1, max: 2}
    perReplica: {tokensPerSecond: 20000, kvCacheGiB: 1, concurrency: 4}
    kvBytesPerToken: 1000
entitlements:
  - uid: a
    tenantId: acme
    poolRef: {name: chat}
    qos: {serviceClass: guaranteed}
    resources: {tokensPerSecond: 5000, kvCacheGiB: 0.5, concurrency: 2}
  - uid: b
    tenantId: globex
    poolRef: {name: chat}
    qos: {serviceClass: spot}
"""
LIMITS = ReplayLimits(retries_max=2, retry_wait_ms_max=100, control_ms=5, drain_ms_max=5_000)


def the_pool() -> Pool:
    """Slots of 5,000 tokens/s: 100 tokens take 20 ms."""
    (record,) = parse_pools(POOLS).records
    return compile_pool(record)


def arrivals(*tenants: str, gap_ms: int = 1, tokens: int = 50) -> list[Arrival]:
    """One request of 2 × tokens per tenant named, so far apart."""
    return [
        Arrival(
            offset_us=number * gap_ms * 1_000,
            tenant=tenant,
            input_tokens=tokens,
            output_tokens=tokens,
        )
        for number, tenant in enumerate(tenants)
    ]


def plan_of(
    requests: Iterable[Arrival], folder: Path, *, admission: bool, **limits: int
) -> ReplayPlan:
    """A plan in real time that records into the folder."""
    come: Callable[[], Iterable[Arrival]] = lambda: requests  # noqa: E731 - typed on purpose
    return ReplayPlan(
        run_id="run",
        pools=(the_pool(),),
        arrivals=come,
        mapping=TenantMapping(),
        record_path=folder / "run.jsonl",
        prefill_us=1_000,
        start_delay_ms=10,
        admission=admission,
        limits=replace(LIMITS, **limits),
    )


def requests_of(plan: ReplayPlan) -> list[RequestLine]:
    """The record's request lines by number."""
    lines = [line for line in read_lines(plan.record_path) if isinstance(line, RequestLine)]
    return sorted(lines, key=lambda line: line.number)
