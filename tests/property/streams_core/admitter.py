"""One admitter of the world: it admits whenever the rules of admission let it.

Its rules are those of ``admission.core`` in small; static safe shares are the production function.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from admission.core.staleness import safe_share
from schemas.pools import Pool
from schemas.positions import NO_VERSION, Version
from schemas.reports import AdmitterReport, Adoption, EntitlementReport
from schemas.state import AdmissionState, Share
from schemas.units import NOTHING, US_PER_MS, US_PER_S, Held, Resources
from streams.core.incarnations import patience_us

TTL_US = 15 * US_PER_S


@dataclass
class Request:
    """One request that runs."""

    uid: str
    amount: Resources
    admitter: str
    """The incarnation that admitted it, or adopted it since."""


@dataclass
class Admitter:
    """One incarnation: admits by the state that it has applied, as its lease allows."""

    name: str
    url: str
    pool: Pool
    state: AdmissionState | None = None
    sequence: int = 0
    sent_us: dict[int, int] = field(default_factory=dict)
    echoed_us: int | None = None
    running: list[Request] = field(default_factory=list)
    refused: dict[str, Resources] = field(default_factory=dict)
    adopted: dict[tuple[str, str], Held] = field(default_factory=dict)
    dead: bool = False
    mute_until_us: int = 0
    """None of its reports arrive."""
    deaf_until_us: int = 0
    """No state reaches it."""

    @property
    def applied(self) -> Version:
        return NO_VERSION if self.state is None else self.state.version

    def apply(self, state: AdmissionState) -> None:
        """Follow a newer state; an older one changes nothing."""
        if state.version <= self.applied:
            return
        self.state = state
        for view in state.admitters:
            if view.incarnation == self.name:
                self.dead |= not view.alive
                sent_us = self.sent_us.get(view.sequence)
                if sent_us is not None:
                    self.echoed_us = max(sent_us, self.echoed_us or sent_us)

    def held(self, uid: str | None = None) -> Resources:
        """Return what runs here, of one entitlement or of all."""
        return total(item.amount for item in self.running if uid in (None, item.uid))

    def usable(self, uid: str, *, now_us: int) -> Resources:
        """Return its share; the baseline's part of it while the lease is over, then a safe one."""
        spec = self.pool.entitlements[uid]
        if self.state is None or self.echoed_us is None:
            return NOTHING
        usable = share_of(self.state, uid, self.name)
        if self.fresh(now_us):
            return usable
        if not self.forsaken(now_us):
            return usable.at_most(spec.baseline)
        if not spec.service_class.is_reserved:
            return NOTHING
        entry = next((item for item in self.state.entitlements if item.entitlement == uid), None)
        return safe_share(
            NOTHING if entry is None else entry.floor,
            admitters_max=self.pool.leases.admitters_max,
            at_home=entry is not None and entry.home == self.name,
        )

    def common(self, *, now_us: int) -> Resources:
        """Return its part of the common share; nothing while the lease is over."""
        if self.state is None or not self.fresh(now_us):
            return NOTHING
        return next((v.common for v in self.state.admitters if v.incarnation == self.name), NOTHING)

    def headroom(self) -> Resources:
        """Return its part of the slots that surplus classes leave free."""
        views = () if self.state is None else self.state.admitters
        live = sorted(view.incarnation for view in views if view.alive)
        part, rest = divmod(self.pool.headroom_slots, max(1, len(live)))
        return Resources(slots=part + (self.name in live[:rest]))

    def age_us(self, now_us: int) -> int:
        return now_us if self.echoed_us is None else now_us - self.echoed_us

    def fresh(self, now_us: int) -> bool:
        return self.age_us(now_us) <= self.pool.leases.lease_ms * US_PER_MS

    def forsaken(self, now_us: int) -> bool:
        """Whether lease and hold are over."""
        return self.age_us(now_us) > patience_us(self.pool.leases)

    def must_evict(self, now_us: int) -> bool:
        """Whether everything above its safe shares has been told to stop, and has had its time."""
        leases = self.pool.leases
        grace_us = (leases.renew_seconds + leases.evict_grace_seconds) * US_PER_S
        return self.age_us(now_us) > patience_us(leases) + grace_us

    def evict(self, *, now_us: int) -> None:
        """End what is held above its safe shares, the youngest first."""
        kept: list[Request] = []
        for item in self.running:
            others = total(each.amount for each in kept if each.uid == item.uid)
            if self.usable(item.uid, now_us=now_us).covers(others + item.amount):
                kept.append(item)
        self.running = kept

    def admit(self, request: Request, *, now_us: int) -> bool:
        """Start the request if share and common part have room in every dimension."""
        service_class = self.pool.entitlements[request.uid].service_class
        before = {uid: self.held(uid) for uid in self.pool.entitlements}
        after = before | {request.uid: before[request.uid] + request.amount}
        usable = {uid: self.usable(uid, now_us=now_us) for uid in after}
        above = total((held - usable[uid]).at_least(NOTHING) for uid, held in after.items())
        own = (after[request.uid] - usable[request.uid]).at_least(NOTHING)
        common = self.common(now_us=now_us) if service_class.may_burst else NOTHING
        if service_class.may_burst:
            common += total(self.lent(uid, now_us=now_us) for uid in self.pool.entitlements)
        if not service_class.has_baseline:
            common -= self.headroom()
        fits = all(
            mine == 0 or all_above <= room
            for mine, all_above, room in zip(stock(own), stock(above), stock(common), strict=True)
        )
        if fits:
            self.running.append(request)
        return fits

    def lent(self, uid: str, *, now_us: int) -> Resources:
        """Return what it leaves idle here of what it lends, less what it has called back."""
        state, lendable = self.state, self.pool.entitlements[uid].lendable
        if state is None or lendable == NOTHING or not self.fresh(now_us):
            return NOTHING
        share = part_of(state, uid, self.name)
        locked = (share.floor - lendable).at_least(NOTHING)
        inside = self.held(uid).at_most(share.usable)
        return (share.grant.at_least(locked) - inside.at_least(locked)).at_most(lendable)

    def adopt(self, request: Request) -> None:
        """Take over a dead incarnation's request."""
        key = (request.admitter, request.uid)
        amount = Held(0, request.amount.kv_bytes, request.amount.slots)
        self.adopted[key] = self.adopted.get(key, Held()) + amount
        self.running.append(replace(request, admitter=self.name))

    def sees_dead(self, incarnation: str) -> bool:
        views = () if self.state is None else self.state.admitters
        return any(view.incarnation == incarnation and not view.alive for view in views)

    def report(self, *, now_us: int) -> AdmitterReport:
        """Return its next report."""
        self.sequence += 1
        self.sent_us[self.sequence] = now_us
        return AdmitterReport(
            pool=self.pool.name,
            incarnation=self.name,
            url=self.url,
            sequence=self.sequence,
            applied=self.applied,
            state_age_ms=(now_us - (self.echoed_us or now_us)) // US_PER_MS,
            expires_in_ms=TTL_US // US_PER_MS if self.running else 0,
            ttl_ms_max=TTL_US // US_PER_MS,
            entitlements=tuple(
                self._entry(uid, now_us=now_us) for uid in sorted(self.pool.entitlements)
            ),
            adoptions=tuple(
                Adoption(incarnation=name, entitlement=uid, adopted=held)
                for (name, uid), held in sorted(self.adopted.items())
            ),
        )

    def _entry(self, uid: str, *, now_us: int) -> EntitlementReport:
        held = self.held(uid)
        above = (held - self.usable(uid, now_us=now_us)).at_least(NOTHING)
        return EntitlementReport(
            entitlement=uid,
            held=Held(held.tokens_per_s * 8, held.kv_bytes, held.slots),
            held_above_share=Held(0, above.kv_bytes, above.slots),
            pending=self.refused.get(uid, NOTHING),
            expected_duration_ms=8_000,
        )


def share_of(state: AdmissionState, uid: str, admitter: str) -> Resources:
    """Return the share that a state gives an admitter."""
    return part_of(state, uid, admitter).usable


def part_of(state: AdmissionState, uid: str, admitter: str) -> Share:
    """Return its parts of floor and grant."""
    for item in state.entitlements:
        if item.entitlement == uid:
            for share in item.shares:
                if share.admitter == admitter:
                    return share
    return Share(admitter=admitter)


def total(amounts: Iterable[Resources]) -> Resources:
    """Return the sum."""
    result = NOTHING
    for amount in amounts:
        result += amount
    return result


def stock(amount: Resources) -> tuple[int, int]:
    """Return what is held: KV cache and slots."""
    return amount.kv_bytes, amount.slots
