"""Crowds: pools of any number of entitlements, all classes in turn, in full use by a seed."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Final

import msgspec

from schemas.ledger import TickRecord
from schemas.pools import Pool, compile_pool
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from schemas.units import BYTES_PER_GIB, Held, Resources
from streams.core.allocation import Claim
from streams.core.capacity import LiveCapacity
from streams.core.tick import Reported, TickSources

SEED: Final = 5
SLOT: Final = Resources(15, BYTES_PER_GIB // 2, 1)
REPLICA: Final = SLOT.times(16)
START_US: Final = 1_700_000_000_000_000
SECOND_US: Final = 1_000_000
CLASSES: Final = tuple(ServiceClass)


def claims(size: int) -> list[Claim]:
    """Return claims that want half more than ``capacity_of`` gives."""
    rng = random.Random(f"{SEED}/{size}")
    return [_claim(number, rng) for number in range(size)]


def _claim(number: int, rng: random.Random) -> Claim:
    service_class = CLASSES[number % len(CLASSES)]
    slots, wanted = rng.randint(1, 40), rng.randint(0, 80)
    baseline = SLOT.times(slots) if service_class.has_baseline else Resources()
    demand = Resources(rng.randint(8, 24) * wanted, rng.randint(1, BYTES_PER_GIB) * wanted, wanted)
    is_guaranteed = service_class is ServiceClass.GUARANTEED
    return Claim(
        uid=f"e{number:05d}",
        service_class=service_class,
        weight_ppm=rng.randint(100_000, 3_000_000),
        demand=demand,
        baseline=baseline,
        ceiling=baseline if is_guaranteed else SLOT.times(80),
        lendable=baseline if is_guaranteed else Resources(),
    )


def capacity_of(wanting: list[Claim]) -> Resources:
    """Return two thirds of what is wanted."""
    return Resources(
        sum(each.demand.tokens_per_s for each in wanting) * 2 // 3,
        sum(each.demand.kv_bytes for each in wanting) * 2 // 3,
        sum(each.demand.slots for each in wanting) * 2 // 3,
    )


def crowded_pool(size: int) -> Pool:
    """Return a pool of so many entitlements."""
    rng = random.Random(f"{SEED}/pool/{size}")
    spec = PoolSpec(
        name="crowd",
        model="llm",
        replicas=Replicas(min=1, max=100_000),
        per_replica=_amounts(16),
        kv_bytes_per_token=147_456,
        headroom=4,
    )
    return compile_pool(
        PoolRecord(pool=spec, entitlements=tuple(_entitlement(i, rng) for i in range(size)))
    )


def _entitlement(number: int, rng: random.Random) -> EntitlementSpec:
    service_class = CLASSES[number % len(CLASSES)]
    return EntitlementSpec(
        uid=f"tenant-{number:05d}",
        tenant_id=f"tenant-{number:05d}",
        pool_ref=PoolRef(name="crowd"),
        qos=Qos(service_class=service_class),
        resources=_amounts(rng.randint(1, 8)) if service_class.has_baseline else Amounts(),
    )


def _amounts(slots: int) -> Amounts:
    return Amounts(
        tokens_per_second=Decimal(15 * slots), kv_cache_gib=Decimal(slots) / 2, concurrency=slots
    )


def whole_reports(pool: Pool, *, admitters: int) -> list[AdmitterReport]:
    """Return reports in which every entitlement is in use at every admitter."""
    rng = random.Random(f"{SEED}/reports/{len(pool.entitlements)}")
    return [
        AdmitterReport(
            pool=pool.name,
            incarnation=f"admitter-{i}-0a1b2c3d",
            url=f"http://admitter-{i}:8080",
            sequence=1,
            entitlements=tuple(_in_use(uid, rng) for uid in pool.entitlements),
        )
        for i in range(admitters)
    ]


def _in_use(uid: str, rng: random.Random) -> EntitlementReport:
    slots = rng.randint(0, 6)
    return EntitlementReport(
        entitlement=uid,
        held=Held(tokens=128 * slots, kv_bytes=slots * BYTES_PER_GIB // 4, slots=slots),
        pending=Resources(rng.randint(0, 30), rng.randint(0, BYTES_PER_GIB), rng.randint(0, 2)),
        expected_duration_ms=8_000,
    )


def tick_sources(
    pool: Pool, reports: list[AdmitterReport], *, number: int, last: TickRecord | None
) -> TickSources:
    """Return what tick ``number`` reads; every admitter has applied the state of the last one."""
    now_us = START_US + number * SECOND_US
    fields = {"sequence": number + 1} | ({} if last is None else {"applied": last.version})
    return TickSources(
        now_us=now_us,
        elapsed_us=SECOND_US,
        generation=1,
        pool=pool,
        capacity=LiveCapacity("bench", max(1, len(pool.entitlements) // 4), 0, 0, REPLICA),
        reports=tuple(
            Reported(msgspec.structs.replace(report, **fields), now_us) for report in reports
        ),
        served_tokens={uid: i * 7 % 60 for i, uid in enumerate(pool.entitlements)},
        ledger=None,
        takeover=False,
    )
