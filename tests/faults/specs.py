"""The pools of a lane: their windows close soon, so that a campaign sees it happen."""

from __future__ import annotations

from decimal import Decimal

from schemas.specs import (
    Amounts,
    EntitlementSpec,
    Metering,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from tests.faults.mill import ENTITLEMENTS, HORIZON_S, LATENESS_MINUTE_S, LATENESS_SECOND_S


def pool_record(name: str) -> PoolRecord:
    """Return a pool with four entitlements."""
    return PoolRecord(
        pool=PoolSpec(
            name=name,
            model="model",
            replicas=Replicas(min=1, max=2),
            per_replica=Amounts(
                tokens_per_second=Decimal(1_000), kv_cache_gib=Decimal(8), concurrency=16
            ),
            kv_bytes_per_token=1_000,
            metering=Metering(
                acceptance_horizon_seconds=HORIZON_S,
                lateness_second_seconds=LATENESS_SECOND_S,
                lateness_minute_seconds=LATENESS_MINUTE_S,
            ),
        ),
        entitlements=tuple(_entitlement(uid, name) for uid in ENTITLEMENTS),
    )


def _entitlement(uid: str, pool: str) -> EntitlementSpec:
    return EntitlementSpec(
        uid=uid,
        tenant_id=f"tenant-{uid}",
        pool_ref=PoolRef(name=pool),
        qos=Qos(service_class=ServiceClass.SPOT),
    )
