"""Law 8: when its lease on the state has run out, an admitter degrades by class.

The age of a state is judged by the world's clock, from when the report was sent that the newest
state followed has echoed; the admitter judges by its own, which may drift.  Lease over: no spot,
no preemptible, nothing demoted, and the others within their baseline share.  Lease and hold over:
no elastic, and reserved classes within the static safe share, above which they are told to stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from admission.core.pool import PoolDesk
from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.units import US_PER_MS, US_PER_S
from simulation.laws.broken import Broken
from simulation.laws.lines import Triple, least, less, most, triple
from simulation.laws.shadow import Entry, Shadow
from simulation.pools.clocks import Clock

DRIFT_DIVISOR: Final = 2_000
"""A clock may gain or lose one part in so many (500 ppm)."""
SLACK_US: Final = 1_000
SENT_MAX: Final = 2_048


@dataclass(slots=True)
class Freshness:
    """One incarnation's reports, and the newest that was echoed to it."""

    incarnation: str
    sent: dict[int, int] = field(default_factory=dict)
    """World time by sequence."""
    echoed_us: int | None = None
    first: int = 0
    """The last report before the judge came: up to it he believes the admitter."""

    def look(self, desk: PoolDesk, clock: Clock, *, now_us: int) -> None:
        """Learn of a report that it has just sent, or of a state that it has just followed."""
        if not self.sent:
            self.first = desk.sequence
        if desk.sequence not in self.sent:
            self.sent[desk.sequence] = now_us
            if len(self.sent) > SENT_MAX:
                del self.sent[next(iter(self.sent))]
        view = desk.view(self.incarnation)
        if view is None or view.sequence == 0:
            return
        sent_us = self.sent.get(view.sequence)
        if view.sequence <= self.first and desk.lease.echoed_us is not None:
            sent_us = clock.world_us(desk.lease.echoed_us)
        if sent_us is not None:
            self.echoed_us = sent_us if self.echoed_us is None else max(sent_us, self.echoed_us)

    def age_us(self, now_us: int) -> int | None:
        """Return the age of its state, at least, by any clock that keeps its bounds."""
        if self.echoed_us is None:
            return None
        age_us = now_us - self.echoed_us
        return age_us - age_us // DRIFT_DIVISOR - SLACK_US


def check_granted(
    pool: Pool, entry: Entry, desk: PoolDesk, shadow: Shadow, *, age_us: int | None
) -> Iterator[Broken]:
    """Yield an admission that the age of the state forbids."""
    if age_us is None:
        text = f"{entry.uid} was admitted at admitter {entry.door} before a state echoed it"
        yield Broken(8, "no state", text)
        return
    lease_us, hold_us = leases(pool)
    if age_us <= lease_us:
        return
    spec = pool.entitlements[entry.uid]
    over = age_us > lease_us + hold_us
    stopped = not spec.service_class.has_baseline or entry.demoted
    stopped = stopped or (over and spec.service_class is ServiceClass.ELASTIC)
    if stopped:
        text = (
            f"{entry.uid} ({entry.served_class}) was admitted at admitter {entry.door} by a state "
            f"that is {age_us / US_PER_S:.3f} s old"
        )
        yield Broken(8, "class has stopped", text)
        return
    allowed = _safe(pool, entry.uid, desk) if over else _baseline_share(pool, entry.uid, desk)
    if not over and age_us + 2 * (age_us // DRIFT_DIVISOR + SLACK_US) > lease_us + hold_us:
        allowed = most(allowed, _safe(pool, entry.uid, desk))  # by its own clock hold may be over
    here = shadow.by_place[entry.door, entry.uid]
    if here.slots > allowed[2] or here.kv_bytes > allowed[1]:
        text = (
            f"{entry.uid} holds {here.slots} slots and {here.kv_bytes} bytes at admitter "
            f"{entry.door} of {allowed[2]} and {allowed[1]}, by a state that is "
            f"{age_us / US_PER_S:.3f} s old"
        )
        yield Broken(8, "share of a stale state", text)


def check_kept(
    pool: Pool, entry: Entry, desk: PoolDesk, shadow: Shadow, *, age_us: int | None
) -> Iterator[Broken]:
    """Yield a reservation that goes on above the static safe share."""
    lease_us, hold_us = leases(pool)
    if age_us is None or age_us <= lease_us + hold_us or entry.told_to_stop:
        return
    staying = [
        other
        for other in shadow.open_at[entry.door]
        if other.uid == entry.uid and not (other.told_to_stop or other.item.evict_reason)
    ]
    safe = _safe(pool, entry.uid, desk)
    if pool.entitlements[entry.uid].service_class.is_reserved and (
        sum(each.slots for each in staying) > safe[2]
        or sum(each.kv_bytes for each in staying) > safe[1]
    ):
        text = f"{entry.uid} keeps more at admitter {entry.door} than its safe share {safe}"
        yield Broken(8, "kept above the safe share", text)


def leases(pool: Pool) -> tuple[int, int]:
    """Return lease and hold in microseconds."""
    return pool.leases.lease_ms * US_PER_MS, pool.leases.hold_seconds * US_PER_S


def _safe(pool: Pool, uid: str, desk: PoolDesk) -> Triple:
    """Return floor ÷ admitters_max rounded down, and at home what the others leave."""
    if not pool.entitlements[uid].service_class.is_reserved:
        return 0, 0, 0
    room = desk.outlook.rooms[uid]
    floor, most = triple(room.floor), pool.leases.admitters_max
    part = (floor[0] // most, floor[1] // most, floor[2] // most)
    if not room.at_home:
        return part
    return less(floor, (part[0] * (most - 1), part[1] * (most - 1), part[2] * (most - 1)))


def _baseline_share(pool: Pool, uid: str, desk: PoolDesk) -> Triple:
    states = () if desk.state is None else desk.state.entitlements
    for item in states:
        if item.entitlement == uid:
            for share in item.shares:
                if share.admitter == desk.incarnation:
                    return least(triple(share.usable), triple(pool.entitlements[uid].baseline))
    return 0, 0, 0
