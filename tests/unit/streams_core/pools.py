"""Pools to share: one replica of 240 tokens/s, 16 GiB of KV cache and 16 slots, as in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from schemas.pools import Pool, compile_pool
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    Leases,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from schemas.units import BYTES_PER_GIB, Resources
from streams.core.capacity import LiveCapacity
from streams.core.tick import Reported, TickSources

GIB = BYTES_PER_GIB
SECOND_US = 1_000_000
REPLICA = Amounts(tokens_per_second=Decimal(240), kv_cache_gib=Decimal(16), concurrency=16)
START_US = 1_700_000_000_000_000


def amounts(slots: int) -> Amounts:
    """Return slots with the tokens/s and the KV cache that go with them: 15 and 1 GiB each."""
    return Amounts(
        tokens_per_second=Decimal(15 * slots), kv_cache_gib=Decimal(slots), concurrency=slots
    )


def vector(slots: int) -> Resources:
    """Return the same in integers."""
    return Resources(15 * slots, slots * GIB, slots)


def entitlement(
    uid: str,
    service_class: ServiceClass,
    slots: int = 0,
    *,
    slo_ms: int = 1_000,
    lending: Amounts | None = None,
    expires_at: str | None = None,
) -> EntitlementSpec:
    """Return an entitlement with a baseline of so many slots."""
    return EntitlementSpec(
        uid=uid,
        tenant_id=f"tenant-{uid}",
        pool_ref=PoolRef(name="chat"),
        qos=Qos(service_class=service_class, slo_target_ms=slo_ms),
        resources=amounts(slots) if slots else Amounts(),
        lending=lending or Amounts(),
        expires_at=expires_at,
    )


def pool_of(
    *entitlements: EntitlementSpec,
    replicas: int = 1,
    headroom: int = 0,
    leases: Leases | None = None,
) -> Pool:
    """Return a pool of so many replicas."""
    spec = PoolSpec(
        name="chat",
        model="llm",
        replicas=Replicas(min=replicas, max=64),
        per_replica=REPLICA,
        kv_bytes_per_token=1_000,
        headroom=headroom,
        leases=leases or Leases(split_slots=8),
    )
    return compile_pool(PoolRecord(pool=spec, entitlements=entitlements), version=7)


def live(replicas: int = 1) -> LiveCapacity:
    """Return so many ready replicas."""
    return LiveCapacity("test", replicas, 0, 0, Resources(240, 16 * GIB, 16))


def reported(
    incarnation: str,
    *entitlements: EntitlementReport,
    received_us: int = START_US,
    report: AdmitterReport | None = None,
) -> Reported:
    """Return an admitter's report, by default its first."""
    report = report or AdmitterReport(
        pool="chat",
        incarnation=incarnation,
        url=f"http://{incarnation}",
        sequence=1,
        entitlements=entitlements,
    )
    return Reported(report, received_us)


def sources(
    pool: Pool,
    reports: Sequence[Reported] = (),
    *,
    now_us: int = START_US,
    elapsed_us: int = SECOND_US,
    generation: int = 1,
    replicas: int = 1,
    served_tokens: dict[str, int] | None = None,
    takeover: bool = False,
) -> TickSources:
    """Return what a tick reads."""
    return TickSources(
        now_us=now_us,
        elapsed_us=elapsed_us,
        generation=generation,
        pool=pool,
        capacity=live(replicas),
        reports=tuple(reports),
        served_tokens=served_tokens or {},
        ledger=None,
        takeover=takeover,
    )
