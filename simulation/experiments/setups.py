"""Setups: the pools and traffic of the paper's two experiments, as we read them.

arXiv 2603.00356, section 5: one replica with 16 slots that share 240 tokens/s, so a slot gives 15.
``docs/decisions/0017-experiments.md`` says what the paper leaves open and what is taken here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from schemas.pools import Pool, compile_pool
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    Policy,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from simulation.catalog import PAPER_1, PAPER_2
from simulation.workloads import Workload
from simulation.world.scenario import Behaviour

SLOTS: Final = 16
TOKENS_PER_S: Final = 240
TOKENS_PER_SLOT_S: Final = TOKENS_PER_S // SLOTS
KV_GIB: Final = 16
"""Of the pool: never the scarce dimension in the paper."""
KV_BYTES_PER_TOKEN: Final = 147_456
"""An 8B model with grouped heads: 2 · 36 layers · 8 heads · 128 · 2 bytes."""
REFERENCE_SLO_MS: Final = 15_250
ONE_ATTEMPT: Final = Behaviour(attempts_max=1)
"""A load generator that counts a 429 and sends its next request."""
POLITE: Final = Behaviour()
"""Clients that wait for Retry-After and come back."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of a run: ``[start_s, end_s)``."""

    start_s: int
    end_s: int


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A pool, its traffic and what happens to it."""

    name: str
    about: str
    pool: Pool
    traffic: Workload
    replicas: int
    scarce: Span
    """Overload or outage: figures of scarcity are taken over it."""
    replicas_scarce: int
    """Ready replicas in that span: fewer than ``replicas`` in an outage."""
    policies: tuple[str, ...]
    """What is compared when nothing else is asked for."""
    behaviour: Behaviour

    @property
    def has_outage(self) -> bool:
        """Whether replicas are lost in the scarce span."""
        return self.replicas_scarce < self.replicas

    def with_headroom(self, slots: int | None) -> Pool:
        """Return the pool with so many slots kept free of spot; None: as it is."""
        return self.pool if slots is None else replace(self.pool, headroom_slots=slots)


def _pool(
    name: str,
    *,
    replicas: int,
    headroom: int,
    tick_ms: int,
    entitlements: tuple[EntitlementSpec, ...],
) -> Pool:
    """Return the paper's capacity as so many equal replicas."""
    per_replica = Amounts(
        tokens_per_second=Decimal(TOKENS_PER_S) / replicas,
        kv_cache_gib=Decimal(KV_GIB) / replicas,
        concurrency=SLOTS // replicas,
    )
    spec = PoolSpec(
        name=name,
        model="sim-8b",
        replicas=Replicas(min=replicas, max=replicas),
        per_replica=per_replica,
        kv_bytes_per_token=KV_BYTES_PER_TOKEN,
        headroom=headroom,
        reference_slo_ms=REFERENCE_SLO_MS,
        default_max_tokens=64,
        policy=Policy(tick_ms=tick_ms),
    )
    return compile_pool(PoolRecord(pool=spec, entitlements=entitlements))


def entitlement(
    uid: str, pool: str, service_class: ServiceClass, *, slots: int = 0, slo_ms: int = 1_000
) -> EntitlementSpec:
    """Return an entitlement of so many of the paper's slots; 0: no baseline."""
    return EntitlementSpec(
        uid=uid,
        tenant_id=uid,
        pool_ref=PoolRef(name=pool),
        qos=Qos(service_class=service_class, slo_target_ms=slo_ms),
        resources=_baseline(slots) if slots else Amounts(),
    )


def _baseline(slots: int) -> Amounts:
    return Amounts(
        tokens_per_second=Decimal(slots * TOKENS_PER_SLOT_S),
        kv_cache_gib=Decimal(slots * KV_GIB) / SLOTS,
        concurrency=slots,
    )


CROSS_CLASS: Final = Setup(
    name="paper-1",
    about="cross-class protection: 22 slots wanted of 16 from 30 s to 60 s",
    pool=_pool(
        "paper-1",
        replicas=1,
        headroom=2,
        tick_ms=250,
        entitlements=(
            entitlement("guaranteed-a", "paper-1", ServiceClass.GUARANTEED, slots=6),
            entitlement("spot-b", "paper-1", ServiceClass.SPOT),
            entitlement("guaranteed-c", "paper-1", ServiceClass.GUARANTEED, slots=6),
        ),
    ),
    traffic=PAPER_1,
    replicas=1,
    scarce=Span(start_s=30, end_s=60),
    replicas_scarce=1,
    policies=("token-pools", "none", "windowed", "paper-rule"),
    behaviour=ONE_ATTEMPT,
)

FAIR_SHARE: Final = Setup(
    name="paper-2",
    about="fair share by debt: three elastic tenants, half the slots lost from 30 s to 120 s",
    pool=_pool(
        "paper-2",
        replicas=2,
        headroom=0,
        tick_ms=1_000,
        entitlements=(
            entitlement("elastic-copilot", "paper-2", ServiceClass.ELASTIC, slots=5, slo_ms=500),
            entitlement("elastic-synth", "paper-2", ServiceClass.ELASTIC, slots=5, slo_ms=30_000),
            entitlement("elastic-reports", "paper-2", ServiceClass.ELASTIC, slots=5, slo_ms=5_000),
        ),
    ),
    traffic=PAPER_2,
    replicas=2,
    scarce=Span(start_s=30, end_s=120),
    replicas_scarce=1,
    policies=("token-pools", "none", "windowed", "paper-rule"),
    behaviour=POLITE,
)

CROSS_CLASS_RETRIES: Final = dataclasses.replace(
    CROSS_CLASS,
    name="paper-1-retries",
    about="paper-1 with clients that wait for Retry-After and come back",
    behaviour=POLITE,
)

SETUPS: Final[Mapping[str, Setup]] = {
    setup.name: setup for setup in (CROSS_CLASS, CROSS_CLASS_RETRIES, FAIR_SHARE)
}
"""The experiments by name."""
