"""Pools and entitlements for the tests of scaling."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from schemas.pools import Pool, compile_pool
from schemas.specs import EntitlementSpec, PoolRecord, PoolSpec, Scaling
from schemas.units import Resources

PER_REPLICA = Resources(100, 1 << 30, 10)
NO_WAITING = Scaling(stabilization_seconds=0, cooldown_seconds=0, step_max=100)


def entitlement(uid: str, service_class: str, **amounts: int) -> dict[str, Any]:
    """An entitlement of 10 tokens/s, 1/64 GiB and 1 slot, but for what is named."""
    spec: dict[str, Any] = {
        "uid": uid,
        "tenantId": uid,
        "poolRef": {"name": "chat"},
        "qos": {"serviceClass": service_class},
    }
    if service_class not in ("spot", "preemptible"):
        spec["resources"] = {
            "tokensPerSecond": 10,
            "kvCacheGiB": Decimal(1) / 64,
            "concurrency": 1,
            **amounts,
        }
    return spec


def pool(
    *entitlements: dict[str, Any],
    scaling: Scaling = NO_WAITING,
    headroom: int = 0,
    low: int = 0,
    high: int = 100,
) -> Pool:
    """A pool whose replicas hold ``PER_REPLICA``."""
    spec = msgspec.convert(
        {
            "name": "chat",
            "model": "m",
            "replicas": {"min": low, "max": high},
            "perReplica": {"tokensPerSecond": 100, "kvCacheGiB": 1, "concurrency": 10},
            "kvBytesPerToken": 1_000,
            "headroom": headroom,
        },
        PoolSpec,
    )
    spec = msgspec.structs.replace(spec, scaling=scaling)
    entries = tuple(msgspec.convert(each, EntitlementSpec) for each in entitlements)
    return compile_pool(PoolRecord(pool=spec, entitlements=entries), version=7)
