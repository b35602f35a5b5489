"""The overview: what ``GET /v1/pools`` shows of this admitter, pool by pool."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from admission.core.account import Account
from admission.core.gate import Gate
from admission.core.pool import PoolDesk
from schemas.decisions import RefusalReason
from schemas.specs import ServiceClass
from schemas.units import US_PER_MS, Held, Resources


class EntitlementOverview(msgspec.Struct, frozen=True, kw_only=True):
    """One entitlement at this admitter."""

    entitlement: str
    tenant: str
    service_class: ServiceClass
    usable: Resources
    """Its share here."""
    held: Held
    held_above_share: Held
    pending: Resources
    level_tokens: int
    closed: RefusalReason | None
    """Why nothing new may start, if so."""
    home: str
    admitted: int
    demoted: int
    settled: int
    released: int
    expired: int
    evicted: int
    refused: dict[str, int]


class PoolOverview(msgspec.Struct, frozen=True, kw_only=True):
    """One pool at this admitter."""

    pool: str
    model: str
    spec_version: int
    state_version: str
    state_age_ms: int | None
    """None: no state has echoed a report of this admitter yet."""
    freshness: str
    shadow: bool
    common: Resources
    """This admitter's part of the common share."""
    entitlements: tuple[EntitlementOverview, ...]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """One admitter."""

    incarnation: str
    url: str
    leaving: bool
    pools: tuple[PoolOverview, ...]


def overview_of(gate: Gate, *, only: Collection[tuple[str, str]] | None, now_us: int) -> Overview:
    """Return the overview, of these (pool, entitlement) alone unless ``only`` is None."""
    pools = []
    for name, desk in gate.desks.items():
        shown = [uid for uid in desk.accounts if only is None or (name, uid) in only]
        if shown or only is None:
            pools.append(_pool(gate, desk, shown, now_us=now_us))
    return Overview(
        incarnation=gate.incarnation, url=gate.url, leaving=gate.leaving, pools=tuple(pools)
    )


def _pool(gate: Gate, desk: PoolDesk, shown: list[str], *, now_us: int) -> PoolOverview:
    desk.refresh(now_us)
    age_us = desk.lease.age_us(now_us)
    return PoolOverview(
        pool=desk.spec.name,
        model=desk.spec.model,
        spec_version=desk.spec.version,
        state_version=str(desk.version),
        state_age_ms=None if age_us is None else age_us // US_PER_MS,
        freshness=desk.freshness.value,
        shadow=gate.is_shadow(desk),
        common=desk.outlook.common,
        entitlements=tuple(_entitlement(desk.accounts[uid], now_us=now_us) for uid in shown),
    )


def _entitlement(account: Account, *, now_us: int) -> EntitlementOverview:
    counters = account.counters
    account.pending.lapse(now_us)
    return EntitlementOverview(
        entitlement=account.spec.uid,
        tenant=account.spec.tenant,
        service_class=account.spec.service_class,
        usable=account.room.usable,
        held=account.held,
        held_above_share=Held(account.common_tokens, account.kv_bytes_above, account.slots_above),
        pending=account.pending.total,
        level_tokens=account.share.level_tokens(now_us),
        closed=account.room.closed,
        home=account.room.home,
        admitted=counters.admitted,
        demoted=counters.demoted,
        settled=counters.settled,
        released=counters.released,
        expired=counters.expired,
        evicted=counters.evicted,
        refused=dict(counters.refused),
    )
