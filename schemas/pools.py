"""Pools: a spec checked and turned into integers, ready to compute with.

``compile_pool`` is the one door: it raises ``SpecError`` with the path of the value that must
change, or returns a ``Pool`` whose amounts are tokens/s, bytes and sequences.  Fractions of a
byte or token are rounded down: a promise is never rounded up.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import ceil
from typing import Final

import msgspec

from schemas.errors import SpecError
from schemas.spec_checks import (
    check_amounts,
    check_instant,
    check_labels,
    check_metering,
    check_name,
    check_policy,
    check_range,
)
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    Leases,
    Metering,
    Policy,
    PoolRecord,
    PoolSpec,
    Scaling,
    ServiceClass,
)
from schemas.units import AMOUNT_MAX, BYTES_PER_GIB, NOTHING, PPM, Dimension, Resources, TokenCounts

KEY_PATTERN: Final = re.compile(r"sha256:[0-9a-f]{64}")
ENTITLEMENTS_PER_POOL_MAX: Final = 10_000
UNLIMITED: Final = Resources(AMOUNT_MAX, AMOUNT_MAX, AMOUNT_MAX)


class Weights(msgspec.Struct, frozen=True):
    """Cost of a token of each class in ppm of one token of throughput."""

    input_ppm: int = PPM
    cache_read_ppm: int = 0
    cache_write_ppm: int = PPM
    output_ppm: int = PPM

    def cost_tokens(self, counts: TokenCounts) -> int:
        """Return the throughput that the counted tokens cost, rounded up to a whole token."""
        cost_ppm = (
            counts.input_tokens * self.input_ppm
            + counts.cache_read_tokens * self.cache_read_ppm
            + counts.cache_write_tokens * self.cache_write_ppm
            + counts.output_tokens * self.output_ppm
        )
        return -(-cost_ppm // PPM)


class Entitlement(msgspec.Struct, frozen=True, kw_only=True):
    """One entitlement in integers."""

    uid: str
    tenant: str
    pool: str
    service_class: ServiceClass
    slo_ms: int
    baseline: Resources
    """0 in every dimension for spot and preemptible."""
    ceiling: Resources
    """The most it may ever use, baseline included."""
    lendable: Resources
    """How much of an idle floor may be lent."""
    keys: tuple[str, ...] = ()
    expires_at: str | None = None
    labels: dict[str, str] = {}

    @property
    def floor(self) -> Resources:
        """What is its right at every instant; nothing unless the class is reserved."""
        return self.baseline if self.service_class.is_reserved else NOTHING


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """One pool in integers, with its entitlements by uid."""

    name: str
    model: str
    replicas_min: int
    replicas_max: int
    per_replica: Resources
    kv_bytes_per_token: int
    weights: Weights
    bucket_s: int
    headroom_slots: int
    reference_slo_ms: int
    default_max_tokens: int
    decode_tokens_per_s_min: int
    price_list: str
    policy: Policy
    leases: Leases
    metering: Metering
    scaling: Scaling
    entitlements: dict[str, Entitlement]
    version: int = 0
    """Offset of the record on ``pools``; 0 for a spec that was never published."""
    digest: str = ""
    applied_us: int = 0
    """When it was applied; 0 for a spec that was never published."""


def compile_pool(record: PoolRecord, *, version: int = 0) -> Pool:
    """Return the pool in integers; raise ``SpecError`` naming the value that must change."""
    spec = record.pool
    _check_pool(spec)
    per_replica = _amounts(spec.per_replica, missing=NOTHING)
    entitlements = _entitlements(record.entitlements, pool=spec.name)
    _check_floors(entitlements, capacity=per_replica.times(spec.replicas.max), pool=spec)
    return Pool(
        name=spec.name,
        model=spec.model,
        replicas_min=spec.replicas.min,
        replicas_max=spec.replicas.max,
        per_replica=per_replica,
        kv_bytes_per_token=_kv_bytes_per_token(spec),
        weights=_weights(spec),
        bucket_s=spec.bucket_seconds,
        headroom_slots=spec.headroom,
        reference_slo_ms=spec.reference_slo_ms,
        default_max_tokens=spec.default_max_tokens,
        decode_tokens_per_s_min=int(spec.decode_tokens_per_second_min),
        price_list=spec.price_list,
        policy=spec.policy,
        leases=spec.leases,
        metering=spec.metering,
        scaling=spec.scaling,
        entitlements=entitlements,
        version=version,
        digest=record.digest or digest_of(record),
        applied_us=record.applied_us,
    )


def digest_of(record: PoolRecord) -> str:
    """Return the SHA-256 of what the record promises, whoever applied it and when."""
    promised = msgspec.structs.replace(record, applied_us=0, digest="")
    return hashlib.sha256(msgspec.json.encode(promised, order="deterministic")).hexdigest()


def floors(entitlements: Sequence[Entitlement]) -> Resources:
    """Return the sum of the floors."""
    total = NOTHING
    for entitlement in entitlements:
        total += entitlement.floor
    return total


def _kv_bytes_per_token(spec: PoolSpec) -> int:
    """Return what is given, or c = 2·L·H_kv·d_h·b of the model's shape, rounded up."""
    shape = spec.model_shape
    if (shape is None) == (spec.kv_bytes_per_token is None):
        given = "neither is" if shape is None else "both are"
        raise SpecError(
            "pool.kvBytesPerToken",
            f"give exactly one of pool.kvBytesPerToken and pool.modelShape; {given} given",
        )
    if spec.kv_bytes_per_token is not None:
        check_range("pool.kvBytesPerToken", spec.kv_bytes_per_token, low=1, high=1 << 40)
        return spec.kv_bytes_per_token
    assert shape is not None
    check_range("pool.modelShape.layers", shape.layers, low=1, high=10_000)
    check_range("pool.modelShape.kvHeads", shape.kv_heads, low=1, high=10_000)
    check_range("pool.modelShape.headDim", shape.head_dim, low=1, high=100_000)
    if not 0 < shape.bytes_per_value <= 8:
        raise SpecError("pool.modelShape.bytesPerValue", "must be above 0 and at most 8")
    return ceil(2 * shape.layers * shape.kv_heads * shape.head_dim * shape.bytes_per_value)


def _weights(spec: PoolSpec) -> Weights:
    weights = spec.cost_weights
    return Weights(
        _ppm(weights.input),
        _ppm(weights.cache_read),
        _ppm(weights.cache_write),
        _ppm(weights.output),
    )


def _ppm(ratio: Decimal) -> int:
    return int(ratio * PPM)


def _amounts(amounts: Amounts, *, missing: Resources) -> Resources:
    tokens, gib, slots = amounts.tokens_per_second, amounts.kv_cache_gib, amounts.concurrency
    return Resources(
        missing.tokens_per_s if tokens is None else int(tokens),
        missing.kv_bytes if gib is None else int(gib * BYTES_PER_GIB),
        missing.slots if slots is None else slots,
    )


def _entitlements(specs: Sequence[EntitlementSpec], *, pool: str) -> dict[str, Entitlement]:
    if len(specs) > ENTITLEMENTS_PER_POOL_MAX:
        raise SpecError("entitlements", f"at most {ENTITLEMENTS_PER_POOL_MAX} in a pool")
    compiled: dict[str, Entitlement] = {}
    owners: dict[str, str] = {}
    for index, spec in enumerate(specs):
        path = f"entitlements[{index}]"
        _check_entitlement(spec, path=path, pool=pool)
        if spec.uid in compiled:
            raise SpecError(f"{path}.uid", f"{spec.uid!r} is used twice")
        for key in spec.keys:
            if owners.setdefault(key, spec.uid) != spec.uid:
                raise SpecError(f"{path}.keys", f"a key also belongs to {owners[key]!r}")
        compiled[spec.uid] = _entitlement(spec)
    return compiled


def _entitlement(spec: EntitlementSpec) -> Entitlement:
    service_class = spec.qos.service_class
    baseline = _amounts(spec.resources, missing=NOTHING)
    return Entitlement(
        uid=spec.uid,
        tenant=spec.tenant_id,
        pool=spec.pool_ref.name,
        service_class=service_class,
        slo_ms=spec.qos.slo_target_ms,
        baseline=baseline,
        ceiling=_ceiling(spec, baseline=baseline),
        lendable=_lendable(spec, baseline=baseline),
        keys=spec.keys,
        expires_at=spec.expires_at,
        labels=spec.labels,
    )


def _ceiling(spec: EntitlementSpec, *, baseline: Resources) -> Resources:
    match spec.qos.service_class:
        case ServiceClass.GUARANTEED:
            return baseline
        case ServiceClass.DEDICATED | ServiceClass.ELASTIC:
            return _amounts(spec.burst, missing=UNLIMITED)
        case ServiceClass.SPOT | ServiceClass.PREEMPTIBLE:
            return _amounts(spec.limits, missing=UNLIMITED)


def _lendable(spec: EntitlementSpec, *, baseline: Resources) -> Resources:
    if spec.qos.service_class is not ServiceClass.GUARANTEED:
        return NOTHING
    return _amounts(spec.lending, missing=baseline).at_most(baseline)


def _check_pool(spec: PoolSpec) -> None:
    check_name("pool.name", spec.name)
    check_range("pool.replicas.min", spec.replicas.min, low=0, high=100_000)
    check_range("pool.replicas.max", spec.replicas.max, low=max(1, spec.replicas.min), high=100_000)
    check_amounts("pool.perReplica", spec.per_replica)
    for name in ("tokens_per_second", "kv_cache_gib", "concurrency"):
        if not getattr(spec.per_replica, name):
            raise SpecError(
                "pool.perReplica", "needs tokensPerSecond, kvCacheGiB and concurrency > 0"
            )
    check_range("pool.bucketSeconds", spec.bucket_seconds, low=1, high=3_600)
    check_range("pool.headroom", spec.headroom, low=0, high=1_000_000)
    check_range("pool.referenceSloMs", spec.reference_slo_ms, low=1, high=86_400_000)
    check_range("pool.defaultMaxTokens", spec.default_max_tokens, low=1, high=10_000_000)
    if spec.decode_tokens_per_second_min < 1:
        raise SpecError("pool.decodeTokensPerSecondMin", "must be at least 1")
    for name in ("input", "cache_read", "cache_write", "output"):
        if not 0 <= getattr(spec.cost_weights, name) <= PPM:
            raise SpecError(f"pool.costWeights.{name}", f"must be between 0 and {PPM}")
    _check_times(spec)
    check_labels("pool.labels", spec.labels)


def _check_times(spec: PoolSpec) -> None:
    policy, leases, scaling = spec.policy, spec.leases, spec.scaling
    check_range("pool.policy.tickMs", policy.tick_ms, low=100, high=60_000)
    check_policy(policy)
    check_metering(spec.metering)
    if leases.lease_ms < 2 * policy.tick_ms:
        raise SpecError(
            "pool.leases.leaseMs",
            f"{leases.lease_ms} is shorter than two ticks (pool.policy.tickMs {policy.tick_ms})",
        )
    check_range("pool.leases.holdSeconds", leases.hold_seconds, low=0, high=3_600)
    check_range("pool.leases.renewSeconds", leases.renew_seconds, low=1, high=600)
    check_range("pool.leases.evictGraceSeconds", leases.evict_grace_seconds, low=1, high=600)
    check_range("pool.leases.admittersMax", leases.admitters_max, low=1, high=1_024)
    check_range("pool.leases.splitSlots", leases.split_slots, low=0, high=1_000_000)
    check_range("pool.scaling.windowSeconds", scaling.window_seconds, low=5, high=604_800)
    if not 0 < scaling.quantile <= 1:
        raise SpecError("pool.scaling.quantile", "must be above 0 and at most 1")


def _check_entitlement(spec: EntitlementSpec, *, path: str, pool: str) -> None:
    check_name(f"{path}.uid", spec.uid)
    check_name(f"{path}.tenantId", spec.tenant_id)
    if spec.pool_ref.name != pool:
        raise SpecError(f"{path}.poolRef.name", f"{spec.pool_ref.name!r} is not pool {pool!r}")
    for name in ("resources", "burst", "lending", "limits"):
        check_amounts(f"{path}.{name}", getattr(spec, name))
    check_range(f"{path}.qos.sloTargetMs", spec.qos.slo_target_ms, low=1, high=86_400_000)
    _check_class_amounts(spec, path=path)
    for key in spec.keys:
        if not KEY_PATTERN.fullmatch(key):
            raise SpecError(f"{path}.keys", "each must be sha256:<64 hexadecimal digits>")
    check_instant(f"{path}.expiresAt", spec.expires_at)
    check_labels(f"{path}.labels", spec.labels)


def _check_class_amounts(spec: EntitlementSpec, *, path: str) -> None:
    """Refuse amounts that the class cannot use, and a burst below the baseline."""
    service_class = spec.qos.service_class
    unused = {
        "resources": not service_class.has_baseline,
        "burst": service_class not in (ServiceClass.DEDICATED, ServiceClass.ELASTIC),
        "lending": service_class is not ServiceClass.GUARANTEED,
        "limits": service_class.has_baseline,
    }
    for name, forbidden in unused.items():
        if forbidden and getattr(spec, name) != Amounts():
            raise SpecError(f"{path}.{name}", f"class {service_class} takes none")
    if not service_class.has_baseline:
        return
    baseline = _amounts(spec.resources, missing=NOTHING)
    if 0 in (baseline.tokens_per_s, baseline.kv_bytes, baseline.slots):
        raise SpecError(
            f"{path}.resources", f"class {service_class} needs all three dimensions > 0"
        )
    if not _ceiling(spec, baseline=baseline).covers(baseline):
        raise SpecError(f"{path}.burst", "is below resources; burst includes the baseline")


def _check_floors(
    entitlements: Mapping[str, Entitlement], *, capacity: Resources, pool: PoolSpec
) -> None:
    total = floors(list(entitlements.values()))
    for dimension in Dimension:
        promised, available = total.of(dimension), capacity.of(dimension)
        if promised > available:
            raise SpecError(
                "entitlements",
                f"floors of pool {pool.name} sum to {promised} in {dimension}, but "
                f"replicas.max {pool.replicas.max} x perReplica gives {available}",
            )
