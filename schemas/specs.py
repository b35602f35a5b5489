"""Specs: pools and entitlements as an operator writes them, field by field.

The names are those of ``pools.yaml`` and of the records on the topic ``pools`` (camelCase; GiB,
tokens/s, seconds as a person says them).  ``schemas.pools`` turns them into integers and checks
them; nothing else should compute with a spec.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, get_args

import msgspec

from schemas.wire import decode_union


class ServiceClass(StrEnum):
    """The five service classes, in rank order."""

    DEDICATED = "dedicated"
    GUARANTEED = "guaranteed"
    ELASTIC = "elastic"
    SPOT = "spot"
    PREEMPTIBLE = "preemptible"

    @property
    def rank(self) -> int:
        """0 is served first."""
        return _RANKS[self]

    @property
    def is_reserved(self) -> bool:
        """Whether the baseline is a floor: a right at every instant."""
        return self in (ServiceClass.DEDICATED, ServiceClass.GUARANTEED)

    @property
    def has_baseline(self) -> bool:
        """Whether an entitlement of this class may name ``resources``."""
        return self in (ServiceClass.DEDICATED, ServiceClass.GUARANTEED, ServiceClass.ELASTIC)

    @property
    def may_burst(self) -> bool:
        """Whether it may use more than its baseline."""
        return self is not ServiceClass.GUARANTEED


_RANKS = {service_class: rank for rank, service_class in enumerate(ServiceClass)}


class _Spec(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of everything an operator writes.

    On the topic unknown fields are ignored; in a file they are typing errors: ``unknown_fields``.
    """


class Replicas(_Spec, frozen=True, kw_only=True):
    """How many replicas the pool may have."""

    min: int = 1
    max: int = 1


class Amounts(_Spec, frozen=True, kw_only=True):
    """Amounts per dimension; what is not named is 0, or "no limit" where a limit is meant."""

    tokens_per_second: Decimal | None = None
    kv_cache_gib: Decimal | None = msgspec.field(default=None, name="kvCacheGiB")
    concurrency: int | None = None


class CostWeights(_Spec, frozen=True, kw_only=True):
    """What a token of each class costs in throughput; 1:0:1:1 reproduces the paper."""

    input: Decimal = Decimal(1)
    cache_read: Decimal = Decimal(0)
    cache_write: Decimal = Decimal(1)
    output: Decimal = Decimal(1)


class ModelShape(_Spec, frozen=True, kw_only=True):
    """What a token's KV cache follows from: 2 x layers x kvHeads x headDim x bytesPerValue.

    Keys and values are the 2; with grouped attention ``kv_heads`` is less than the query heads.
    """

    layers: int
    kv_heads: int
    head_dim: int
    bytes_per_value: Decimal = Decimal(2)
    """2 for 16-bit values, 1 for 8-bit, 0.5 for 4-bit ones."""


class Policy(_Spec, frozen=True, kw_only=True):
    """The fairness policy: tick, half-lives, exponents of arXiv 2603.00356 eq. (1)."""

    mode: Literal["default", "paper"] = "default"
    """``paper`` computes the paper's equations as they are printed: docs/decisions/0016."""
    tick_ms: int = 1_000
    debt_half_life_seconds: Decimal = Decimal("9.7")
    burst_half_life_seconds: Decimal = Decimal("9.7")
    alpha_slo: Decimal = Decimal(2)
    alpha_burst: Decimal = Decimal(1)
    alpha_debt: Decimal = Decimal(4)
    shadow: bool = False
    """Decide and report, but refuse nothing."""


class Leases(_Spec, frozen=True, kw_only=True):
    """How long an admitter may follow a state, and how reservations stay alive."""

    lease_ms: int = 5_000
    hold_seconds: int = 30
    renew_seconds: int = 5
    evict_grace_seconds: int = 5
    """From the renewal that tells a reservation to stop until it ends by itself."""
    admitters_max: int = 16
    split_slots: int = 32
    """A floor of fewer slots per live admitter stays whole at its home; 0: every floor is split."""


class Metering(_Spec, frozen=True, kw_only=True):
    """What counts as late, and how long a window stays open."""

    acceptance_horizon_seconds: int = 86_400
    future_seconds_max: int = 300
    lateness_second_seconds: int = 120
    lateness_minute_seconds: int = 600
    lateness_hour_seconds: int = 3_600
    window_seconds: int = 1
    """Length of the shortest windows; it divides a minute."""


class Scaling(_Spec, frozen=True, kw_only=True):
    """How the autoscaler turns demand into replicas."""

    window_seconds: int = 60
    quantile: Decimal = Decimal("0.9")
    stabilization_seconds: int = 120
    cooldown_seconds: int = 30
    step_max: int = 4
    headroom_concurrency: int = 0
    enabled: bool = True


class PoolSpec(_Spec, frozen=True, kw_only=True):
    """One token pool: one model deployment and its capacity."""

    name: str
    model: str
    replicas: Replicas = Replicas()
    per_replica: Amounts
    kv_bytes_per_token: int | None = None
    model_shape: ModelShape | None = None
    """Either of the two says what a token takes of the KV cache, over all devices together."""
    cost_weights: CostWeights = CostWeights()
    bucket_seconds: int = 10
    headroom: int = 0
    """Slots kept free of spot and preemptible requests."""
    reference_slo_ms: int = 1_000
    default_max_tokens: int = 1_024
    decode_tokens_per_second_min: Decimal = Decimal(10)
    """The slowest decode rate: bounds the TTL of a reservation that cannot be renewed."""
    price_list: str = "default"
    policy: Policy = Policy()
    leases: Leases = Leases()
    metering: Metering = Metering()
    scaling: Scaling = Scaling()
    labels: dict[str, str] = {}


class PoolRef(_Spec, frozen=True, kw_only=True):
    """The pool that an entitlement is in."""

    name: str


class Qos(_Spec, frozen=True, kw_only=True):
    """Service class and the time to first token that the tenant was promised."""

    service_class: ServiceClass
    slo_target_ms: int = 1_000


class EntitlementSpec(_Spec, frozen=True, kw_only=True):
    """One tenant's entitlement in one pool."""

    uid: str
    tenant_id: str
    pool_ref: PoolRef
    qos: Qos
    resources: Amounts = Amounts()
    """The baseline (classes dedicated, guaranteed, elastic)."""
    burst: Amounts = Amounts()
    """The most that may be used, baseline included (dedicated, elastic); unnamed: the pool."""
    lending: Amounts = Amounts()
    """How much of an idle floor may be lent (guaranteed); unnamed: all of it."""
    limits: Amounts = Amounts()
    """The most that may be used by a class without a baseline (spot, preemptible)."""
    keys: tuple[str, ...] = ()
    """SHA-256 digests of API keys, as ``sha256:<64 hexadecimal digits>``."""
    expires_at: str | None = None
    """RFC 3339; from then on the entitlement is Expired."""
    labels: dict[str, str] = {}


class PoolRecord(msgspec.Struct, frozen=True, kw_only=True, tag="pool", tag_field="kind"):
    """A pool with all its entitlements on the topic ``pools`` (key: the pool's name).

    The record's offset is its version: the same key always lands in the same partition.
    """

    pool: PoolSpec
    entitlements: tuple[EntitlementSpec, ...] = ()
    applied_us: int = 0
    digest: str = ""
    """SHA-256 of the canonical JSON of pool and entitlements."""


class EpochRecord(msgspec.Struct, frozen=True, kw_only=True, tag="epoch", tag_field="kind"):
    """A new order for a re-created ``usage`` topic (key ``$epoch``): ``tokenpools new-epoch``."""

    epoch: int
    created_us: int
    reason: str = ""


PoolsMessage = PoolRecord | EpochRecord
EPOCH_KEY = b"$epoch"

FIRST_EPOCH = 1
"""The log epoch until ``tokenpools new-epoch`` begins another one."""


def decode_pools(raw: bytes) -> PoolsMessage:
    """Return the message on ``pools`` that ``raw`` holds."""
    message: PoolsMessage = decode_union(raw, PoolsMessage)
    return message


def unknown_fields(raw: object, kind: type[msgspec.Struct], *, path: str = "") -> list[str]:
    """Return the paths in ``raw`` (a mapping, as YAML gives it) that ``kind`` has no field for."""
    if not isinstance(raw, dict):
        return []
    fields = {field.encode_name: _section(field.type) for field in msgspec.structs.fields(kind)}
    unknown: list[str] = []
    for name, value in raw.items():
        here = f"{path}.{name}" if path else str(name)
        if name not in fields:
            unknown.append(here)
        elif (section := fields[name]) is not None:
            unknown += unknown_fields(value, section, path=here)
    return unknown


def _section(kind: Any) -> type[msgspec.Struct] | None:
    """Return the struct that a field holds, optional or not; None for a plain value."""
    for each in get_args(kind) or (kind,):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    return None
