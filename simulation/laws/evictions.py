"""Law 4 on evictions: only preemptible requests are told to stop, and before anybody is throttled.

A reservation of another class may be told to stop only when lease and hold are over and more is
held than the static safe share (law 8).  A request of a higher class that finds no slots or KV is
refused only if some preemptible request at its admitter is making room already, or all of them
together could not make enough for it and for those that wait.
"""

from __future__ import annotations

from collections.abc import Iterator

from admission.core.pool import PoolDesk
from schemas.decisions import RefusalReason
from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.units import US_PER_S, Dimension
from simulation.laws.broken import Broken
from simulation.laws.floors import needed
from simulation.laws.shadow import Entry, Shadow
from simulation.laws.staleness import leases
from simulation.policy import Ask, Denied


def check_told(pool: Pool, entry: Entry, *, age_us: int | None) -> Iterator[Broken]:
    """Yield a reservation that was told to stop although it is not preemptible."""
    lease_us, hold_us = leases(pool)
    may_be_stale = age_us is None or 2 * age_us > lease_us + hold_us
    if entry.served_class is ServiceClass.PREEMPTIBLE or may_be_stale:
        return
    text = (
        f"{entry.uid}, served as {entry.served_class}, was told to stop at admitter {entry.door} "
        f"by a state that is {(age_us or 0) / US_PER_S:.3f} s old"
    )
    yield Broken(4, "evicted", text)


def check_throttled(
    pool: Pool, ask: Ask, answer: Denied, desk: PoolDesk, shadow: Shadow, *, door: int
) -> Iterator[Broken]:
    """Yield a refusal for which a preemptible request should have made room, and none is going."""
    service_class = pool.entitlements[ask.entitlement].service_class
    if (
        answer.reason != RefusalReason.CONTENDED
        or answer.dimension not in (Dimension.CONCURRENCY, Dimension.KV_CACHE)
        or service_class is ServiceClass.PREEMPTIBLE
        or not _has_tokens(desk, ask.entitlement)
    ):
        return
    open_here = [
        entry
        for entry in shadow.open_at[door]
        if entry.served_class is ServiceClass.PREEMPTIBLE and entry.item.renew_ms
    ]
    if any(entry.item.evict_reason for entry in open_here):
        return
    _, kv_bytes, slots = needed(ask, pool)
    waits = desk.reclaim.awaited.total
    headroom = (
        0
        if pool.entitlements[ask.entitlement].service_class.has_baseline
        else (desk.outlook.headroom_slots)
    )
    if (
        sum(each.slots for each in open_here) >= slots + waits.slots + headroom
        and sum(each.kv_bytes for each in open_here) >= kv_bytes + waits.kv_bytes
    ):
        text = (
            f"{ask.entitlement} ({service_class}) was refused {answer.dimension} at admitter "
            f"{door} while {len(open_here)} preemptible requests stay"
        )
        yield Broken(4, "throttled before evicting", text)


def _has_tokens(desk: PoolDesk, uid: str) -> bool:
    """Say whether throughput would let it in: evicting somebody frees no tokens."""
    account = desk.accounts[uid]
    return (
        desk.common.level_utok < desk.common.depth_utok
        and account.ceiling.level_utok < account.ceiling.depth_utok
    )
