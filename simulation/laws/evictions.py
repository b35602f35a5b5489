"""Law 4 on evictions: only preemptible requests are told to stop, and before anybody is throttled.

A reservation of another class may be told to stop only when lease and hold are over and more is
held than the static safe share (law 8).  A request of a higher class that finds no slots or KV is
refused only if no preemptible request could make room: at its admitter all of those that draw on
what is above the shares have been told to go, or will be at their next renewal.
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
    """Yield a refusal for which a preemptible request should have made room."""
    service_class = pool.entitlements[ask.entitlement].service_class
    surplus = answer.dimension in (Dimension.CONCURRENCY, Dimension.KV_CACHE)
    if (
        answer.reason != RefusalReason.CONTENDED
        or service_class is ServiceClass.PREEMPTIBLE
        or not surplus
    ):
        return
    staying = [
        entry
        for entry in shadow.open_at[door]
        if entry.served_class is ServiceClass.PREEMPTIBLE
        and entry.item.renew_ms
        and not entry.item.evict_reason
    ]
    _, kv_bytes, slots = needed(ask, pool)
    above = desk.slots_above if answer.dimension == Dimension.CONCURRENCY else desk.kv_bytes_above
    if (
        above > 0
        and sum(each.slots for each in staying) >= slots
        and sum(each.kv_bytes for each in staying) >= kv_bytes
    ):
        text = (
            f"{ask.entitlement} ({service_class}) was refused {answer.dimension} at admitter "
            f"{door} while {len(staying)} preemptible requests stay"
        )
        yield Broken(4, "throttled before evicting", text)
