"""Families: pools of odd sizes, drawn from a seed, each family in love with another difficulty."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Final

from msgspec.structs import replace

from schemas.pools import Pool, compile_pool
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    Leases,
    Policy,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from schemas.units import BYTES_PER_GIB

NAME: Final = "pool"
KV_BYTES_PER_TOKEN: Final = 1 << 20
TOKENS_PER_S_OF_A_SLOT: Final = 20

Part = tuple[ServiceClass, int]
"""A class, and its part of the slots that all floors and baselines share, in percent."""

_D, _G, _E = ServiceClass.DEDICATED, ServiceClass.GUARANTEED, ServiceClass.ELASTIC
_S, _P = ServiceClass.SPOT, ServiceClass.PREEMPTIBLE


def _mixed(rng: Random) -> list[Part]:
    parts = [(_D, 15), (_G, 20), (_E, 20), (_S, 0), (_P, 0)]
    return parts + rng.sample([(_G, 10), (_E, 10), (_E, 15), (_S, 0)], rng.randint(0, 2))


def _small_floors(rng: Random) -> list[Part]:
    return [(rng.choice((_D, _G)), 0) for _ in range(rng.randint(3, 5))] + [(_E, 20), (_S, 0)]


def _split_floors(_: Random) -> list[Part]:
    return [(_G, 60), (_D, 20), (_E, 10), (_S, 0), (_P, 0)]


def _crowded(rng: Random) -> list[Part]:
    """Floors fill the pool: everything else lives on what is lent."""
    first = rng.randint(20, 60)
    return [(_G, first), (_D, 15), (_G, 85 - first), (_E, 15), (_S, 0), (_P, 0)]


def _elastic(rng: Random) -> list[Part]:
    return [(_E, rng.randint(10, 30)) for _ in range(rng.randint(3, 4))] + [(_G, 15), (_S, 0)]


def _surplus(_: Random) -> list[Part]:
    return [(_G, 30), (_E, 20), (_S, 0), (_S, 0), (_P, 0), (_P, 0)]


FAMILIES: Final[dict[str, Callable[[Random], list[Part]]]] = {
    "mixed": _mixed,
    "small-floors": _small_floors,
    "split-floors": _split_floors,
    "crowded": _crowded,
    "elastic": _elastic,
    "surplus": _surplus,
}


def pool_of(family: str, rng: Random) -> Pool:
    """Return a pool of the family."""
    slots, replicas = rng.randint(5, 17), rng.randint(1, 4)
    mean_tokens = rng.randint(40, 120)
    kv_slots = slots * rng.randint(100, 250) // 100
    spec = PoolSpec(
        name=NAME,
        model="sim-8b",
        replicas=Replicas(min=replicas, max=replicas),
        per_replica=Amounts(
            tokens_per_second=Decimal(slots * TOKENS_PER_S_OF_A_SLOT),
            kv_cache_gib=_gib(max(1, kv_slots) * mean_tokens),
            concurrency=slots,
        ),
        kv_bytes_per_token=KV_BYTES_PER_TOKEN,
        bucket_seconds=rng.choice((1, 2, 5, 10)),
        headroom=rng.choice((0, 0, 1, 2, 4)),
        default_max_tokens=256,
        # 200 is faster than the engine: reservations that cannot be renewed run out.
        decode_tokens_per_second_min=Decimal(rng.choice((10, 10, 200))),
        policy=Policy(tick_ms=rng.choice((250, 1_000))),
        leases=Leases(
            lease_ms=rng.choice((2_000, 3_000, 5_000)),
            hold_seconds=rng.choice((1, 4, 10)),
            renew_seconds=rng.choice((1, 2)),
            admitters_max=rng.choice((8, 16)),
        ),
    )
    total_slots = slots * replicas
    percent = FAMILIES[family](rng)
    least = rng.choice((1, 1, 2)) if total_slots > 12 else 1
    entitlements = tuple(
        _entitlement(
            f"{service_class}-{number}",
            service_class,
            slots=max(least, total_slots * part // 100),
            mean_tokens=mean_tokens,
            rng=rng,
        )
        for number, (service_class, part) in enumerate(percent)
    )
    return compile_pool(PoolRecord(pool=spec, entitlements=entitlements), version=1)


def _entitlement(
    uid: str, service_class: ServiceClass, *, slots: int, mean_tokens: int, rng: Random
) -> EntitlementSpec:
    """Return an entitlement; with a baseline, of so many slots and what they need."""
    spec = EntitlementSpec(
        uid=uid,
        tenant_id=f"tenant-{uid}",
        pool_ref=PoolRef(name=NAME),
        qos=Qos(service_class=service_class, slo_target_ms=rng.choice((500, 1_000, 5_000))),
    )
    own = Amounts(
        tokens_per_second=Decimal(max(1, slots * rng.randint(50, 100) // 100) * 17),
        kv_cache_gib=_gib(slots * mean_tokens * rng.randint(70, 100) // 100),
        concurrency=slots,
    )
    if service_class is ServiceClass.GUARANTEED:
        return replace(spec, resources=own, lending=_lending(own, rng))
    if service_class.has_baseline:
        burst = Amounts(concurrency=slots + rng.randint(0, 3 * slots))
        return replace(spec, resources=own, burst=burst if rng.random() < 0.4 else Amounts())
    limits = Amounts(concurrency=rng.randint(1, 4 * slots + 4))
    return replace(spec, limits=limits if rng.random() < 0.3 else Amounts())


def _lending(own: Amounts, rng: Random) -> Amounts:
    """Return all (unnamed), nothing, or a part in each dimension."""
    chance = rng.random()
    if chance < 0.5:
        return Amounts()
    if chance < 0.7:
        return Amounts(tokens_per_second=Decimal(0), kv_cache_gib=Decimal(0), concurrency=0)
    assert own.concurrency is not None
    return Amounts(concurrency=rng.randint(0, own.concurrency))


def _gib(tokens: int) -> Decimal:
    return Decimal(max(1, tokens) * KV_BYTES_PER_TOKEN) / BYTES_PER_GIB
