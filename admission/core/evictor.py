"""The evictor: chooses who makes room, says when that must have happened, and tells them.

Choosing is a verdict and takes nothing: the chosen hold their room until they end.  They are told
at their next renewal (``admission.core.gate`` asks ``tell``), have the pool's grace from then, and
are settled with what they produced; one that neither stops nor renews expires.  In shadow mode
everybody is chosen as ever, noted, and told nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from admission.core.account import Account
from admission.core.book import Book
from admission.core.decision import Need, Short
from admission.core.eviction import Eviction, gone_in_ms, held_by
from admission.core.moment import Moment
from admission.core.pool import PoolDesk
from admission.core.reclaim import short_of
from admission.core.reservations import Open
from schemas.decisions import DecisionKind, EvictionReason, RefusalReason
from schemas.specs import ServiceClass
from schemas.units import US_PER_MS, US_PER_S, Dimension, Resources


@dataclass(slots=True)
class Evictor:
    """Over the reservations of one book."""

    book: Book

    def call_back(self, desk: PoolDesk, item: Open, *, now: Moment) -> Eviction | None:
        """Make room for a request that was admitted into a floor that was lent."""
        if not desk.reclaim.renewable:
            return None
        chosen = desk.reclaim.choose_what_helps(desk.called_back(item))
        return self._send_away(desk, chosen, EvictionReason.CALLED_BACK, now)

    def make_room(
        self, desk: PoolDesk, account: Account, need: Need, short: Short, *, key: str, now: Moment
    ) -> Eviction | None:
        """Make room for a request that found none; None when nobody can, or nobody must.

        An eviction that names nobody: enough is going already, and gone by then.
        """
        if not _is_worth_an_eviction(desk, account, need, short, now):
            return None
        waits = _drawn(account, need)
        awaited = desk.reclaim.awaited
        before = awaited.entries.get(key)
        awaited.put(key, waits, lapse_us=now.mono_us + 1)
        missing = short_of(desk.reclaim, free=desk.free_above(account))
        chosen = desk.reclaim.choose(missing)
        if not (chosen or missing.is_nothing):
            awaited.take(key)
            if before is not None:
                awaited.put(key, before[1], lapse_us=before[0])
            return None
        eviction = self._send_away(desk, chosen, EvictionReason.CONTENDED, now)
        eviction = eviction or Eviction((), 0, 0, _all_gone_in_ms(desk, now))
        lapse_ms = 2 * eviction.gone_in_ms + 2 * desk.spec.policy.tick_ms
        awaited.put(key, waits, lapse_us=now.mono_us + lapse_ms * US_PER_MS)
        return eviction

    def look(self, desk: PoolDesk, item: Open, *, now: Moment) -> None:
        """Choose, at a renewal, who makes room for what newer states and lost leases took away."""
        if desk.over_share(item):
            self._send_away(desk, [item], EvictionReason.STALE, now)
        if item.served_class is not ServiceClass.PREEMPTIBLE:
            return
        over = desk.over_common()
        if not over.is_nothing:
            above = {uid for uid, each in desk.accounts.items() if each.is_above}
            chosen = desk.reclaim.choose_what_helps(over, only=above)
            self._send_away(desk, chosen, EvictionReason.SHARE_CUT, now)

    def tell(self, desk: PoolDesk, item: Open, *, shadow: bool, now: Moment) -> None:
        """Tell a chosen reservation, at its renewal and once, by when it must have stopped."""
        if not item.evict_reason or item.told:
            return
        item.told = True
        counters = desk.accounts[item.entitlement].counters
        if shadow:
            counters.shadow_evicted += 1
        else:
            counters.evicted += 1
            item.evict_us = now.mono_us + desk.spec.leases.evict_grace_seconds * US_PER_S
        reason = item.evict_reason
        self.book.note(DecisionKind.EVICTED, item, now, reason=reason, shadow=shadow)

    def _send_away(
        self, desk: PoolDesk, chosen: Sequence[Open], reason: EvictionReason, now: Moment
    ) -> Eviction | None:
        for item in chosen:
            desk.send_away(item, reason)
        if not chosen:
            return None
        room = held_by(chosen)
        return Eviction(
            reservation_ids=tuple(item.reservation_id for item in chosen),
            slots=room.slots,
            kv_bytes=room.kv_bytes,
            gone_in_ms=_gone_in_ms(desk, chosen, now),
        )


def _is_worth_an_eviction(
    desk: PoolDesk, account: Account, need: Need, short: Short, now: Moment
) -> bool:
    """Only room is missing, in slots or KV, and the class is served before preemptible."""
    return (
        short.reason is RefusalReason.CONTENDED
        and short.dimension in (Dimension.CONCURRENCY, Dimension.KV_CACHE)
        and account.spec.service_class is not ServiceClass.PREEMPTIBLE
        and desk.lacks_only_room(account, need, now_us=now.mono_us)
    )


def _drawn(account: Account, need: Need) -> Resources:
    """Return what of a request's need does not fit its entitlement's share."""
    usable = account.room.usable
    return Resources(
        0,
        max(0, min(need.kv_bytes, account.kv_bytes + need.kv_bytes - usable.kv_bytes)),
        max(0, min(need.slots, account.slots + need.slots - usable.slots)),
    )


def _all_gone_in_ms(desk: PoolDesk, now: Moment) -> int:
    return _gone_in_ms(desk, list(desk.reclaim.going.values()), now)


def _gone_in_ms(desk: PoolDesk, items: Sequence[Open], now: Moment) -> int:
    grace_s = desk.spec.leases.evict_grace_seconds
    waits = (gone_in_ms(item, grace_s=grace_s, now_us=now.mono_us) for item in items)
    return max(waits, default=0)
