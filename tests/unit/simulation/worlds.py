"""Small pools, scenarios and a policy that follows a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from schemas.pools import Pool, compile_pool
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
from schemas.units import US_PER_S, TokenCounts
from simulation.arrivals import Arrival
from simulation.engine import SlotEngineSpec
from simulation.policy import (
    Ask,
    Denied,
    Elsewhere,
    Ended,
    Granted,
    Kept,
    NotNow,
    Unknown,
    Usage,
)
from simulation.world.scenario import Behaviour, Scenario

SPEC = SlotEngineSpec(tokens_per_s=240, slots=16)
"""The paper's engine: a request of 64 + 64 tokens takes 8.533334 s."""
SERVICE_US = 8_533_334
HALF_S = US_PER_S // 2


def amounts(slots: int) -> Amounts:
    """Return so many of the paper's slots."""
    return Amounts(
        tokens_per_second=Decimal(15 * slots), kv_cache_gib=Decimal(slots), concurrency=slots
    )


def entitlement(uid: str, service_class: ServiceClass, *, slots: int = 0) -> EntitlementSpec:
    """Return an entitlement whose baseline, or limit, is so many slots; 0: unnamed."""
    named = amounts(slots) if slots else Amounts()
    has_baseline = service_class.has_baseline
    return EntitlementSpec(
        uid=uid,
        tenant_id=uid,
        pool_ref=PoolRef(name="chat"),
        qos=Qos(service_class=service_class),
        resources=named if has_baseline else Amounts(),
        limits=Amounts() if has_baseline else named,
    )


def pool(*entitlements: EntitlementSpec, replicas_max: int = 1, slots: int = 16) -> Pool:
    """Return a pool with these entitlements."""
    spec = PoolSpec(
        name="chat",
        model="sim-8b",
        replicas=Replicas(min=1, max=replicas_max),
        per_replica=amounts(slots),
        kv_bytes_per_token=1_024,
        reference_slo_ms=1_000,
    )
    return compile_pool(PoolRecord(pool=spec, entitlements=entitlements))


ONE_TENANT = pool(entitlement("tenant", ServiceClass.GUARANTEED, slots=8))
PAPER_POOL = pool(
    entitlement("guaranteed-a", ServiceClass.GUARANTEED, slots=6),
    entitlement("spot-b", ServiceClass.SPOT, slots=10),
    entitlement("guaranteed-c", ServiceClass.GUARANTEED, slots=6),
)


def arrivals(*at_s: float, tenant: str = "tenant", output_tokens: int = 64) -> list[Arrival]:
    """Return requests of 64 input tokens at these times."""
    return [
        Arrival(
            offset_us=round(each * US_PER_S),
            tenant=tenant,
            input_tokens=64,
            output_tokens=output_tokens,
        )
        for each in at_s
    ]


def scenario(
    traffic: Sequence[Arrival],
    *,
    behaviour: Behaviour | None = None,
    in_pool: Pool = ONE_TENANT,
    duration_s: int = 60,
    seed: int = 1,
) -> Scenario:
    """Return a world of the paper's engine that ends with its traffic, and a minute later."""
    return Scenario(
        pool=in_pool,
        traffic=traffic,
        seed=seed,
        duration_us=duration_s * US_PER_S,
        engine=SPEC,
        behaviour=behaviour or Behaviour(),
    )


def grant(ask: Ask, *, door: int = 0, renew_in_us: int = 0) -> Granted:
    """Return the usual answer."""
    return Granted(
        handle=f"h-{ask.request_id}",
        door=door,
        served_class=ServiceClass.GUARANTEED,
        renew_in_us=renew_in_us,
    )


@dataclass
class Scripted:
    """A policy that answers what the test says, and remembers what it was asked."""

    on_reserve: Callable[[Ask, int, int], Granted | Denied | NotNow] = field(
        default=lambda ask, door, now_us: grant(ask, door=door)
    )
    on_renew: Callable[[str, int, int], Kept | Elsewhere | Unknown | NotNow] = field(
        default=lambda handle, door, now_us: Kept(handle=handle, door=door, renew_in_us=0)
    )
    on_settle: Callable[[str, int, int], Ended | Elsewhere | Unknown | NotNow] = field(
        default=lambda handle, door, now_us: Ended(first=True)
    )
    wanted: int | None = None
    doors: int = 1
    name: str = "scripted"
    reserved: list[tuple[int, int, Ask]] = field(default_factory=list)
    """(time, door, ask)."""
    renewed: list[tuple[int, int, str, int]] = field(default_factory=list)
    """(time, door, handle, output tokens)."""
    settled: list[tuple[int, int, str, TokenCounts, bool]] = field(default_factory=list)
    """(time, door, handle, used, completed)."""
    metered: list[Usage] = field(default_factory=list)
    sizes: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(time, ready, starting, draining)."""

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted | Denied | NotNow:
        self.reserved.append((now_us, door, ask))
        return self.on_reserve(ask, door, now_us)

    def renew(
        self, handle: str, *, door: int, output_tokens: int, now_us: int
    ) -> Kept | Elsewhere | Unknown | NotNow:
        self.renewed.append((now_us, door, handle, output_tokens))
        return self.on_renew(handle, door, now_us)

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended | Elsewhere | Unknown | NotNow:
        self.settled.append((now_us, door, handle, used, completed))
        return self.on_settle(handle, door, now_us)

    def meter(self, usage: Usage, *, now_us: int) -> None:
        self.metered.append(usage)

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        self.sizes.append((now_us, ready, starting, draining))

    def replicas_wanted(self, *, now_us: int) -> int | None:
        return self.wanted

    def next_event_us(self) -> int | None:
        return None

    def advance(self, *, now_us: int) -> None:
        raise AssertionError("it has nothing to do by itself")
