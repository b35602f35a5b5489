"""One pool at this admitter: its spec, the state it follows, and what its entitlements hold.

``refresh`` brings every share up to date with the state and the age of the lease; ``hold`` and
``free`` are the only ways to change what is held.  The sums above all shares are kept, so a
decision costs the same with ten entitlements as with ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from admission.core.account import Account
from admission.core.bucket import Bucket
from admission.core.decision import Need, Standing, Surplus, Verdict, can_never_fit, decide
from admission.core.reservations import Open
from admission.core.share import Outlook, Room, outlook
from admission.core.staleness import Freshness, Lease
from schemas.decisions import RefusalReason
from schemas.pools import Pool
from schemas.positions import NO_VERSION, Version
from schemas.reservations import ReserveBody
from schemas.specs import ServiceClass
from schemas.state import AdmissionState, AdmitterView
from schemas.units import US_PER_MS, Dimension, Held, TokenCounts


@dataclass(slots=True)
class Offer:
    """A request with what it would reserve."""

    need: Need
    max_tokens: int
    output_tokens: int
    """Expected, over all choices."""


@dataclass(slots=True)
class PoolDesk:
    """Everything of one pool."""

    spec: Pool
    incarnation: str
    state: AdmissionState | None = None
    lease: Lease = field(default_factory=Lease)
    freshness: Freshness = Freshness.NONE
    outlook: Outlook = field(default_factory=lambda: Outlook({}))
    accounts: dict[str, Account] = field(default_factory=dict)
    common: Bucket = field(default_factory=Bucket)
    slots_above: int = 0
    kv_bytes_above: int = 0
    sequence: int = 0
    adoptions: dict[tuple[str, str], Held] = field(default_factory=dict)
    """Adopted so far, by dead incarnation and entitlement."""
    declared_dead: bool = False

    @property
    def version(self) -> Version:
        """The version of the state that it follows."""
        return NO_VERSION if self.state is None else self.state.version

    def view(self, incarnation: str) -> AdmitterView | None:
        """Return what the state says of an incarnation."""
        views = () if self.state is None else self.state.admitters
        return next((view for view in views if view.incarnation == incarnation), None)

    def follow_spec(self, spec: Pool, *, now_us: int) -> None:
        """Follow a new spec; what removed entitlements hold is kept until it has ended."""
        self.spec = spec
        for uid, entitlement in spec.entitlements.items():
            account = self.accounts.setdefault(uid, Account(entitlement))
            account.spec = entitlement
        gone = [uid for uid in self.accounts if uid not in spec.entitlements]
        for uid in gone:
            if self.accounts[uid].held == Held():
                del self.accounts[uid]
        self._apply(now_us)

    def follow_state(self, state: AdmissionState, *, now_us: int) -> bool:
        """Follow a newer state; say whether it was newer.  A lower version changes nothing."""
        if self.state is not None and state.version <= self.state.version:
            return False
        self.state = state
        mine = self.view(self.incarnation)
        if mine is not None:
            self.declared_dead |= not mine.alive
            self.lease.echoed(mine.sequence)
        self.freshness = self.lease.freshness(now_us, leases=self.spec.leases)
        self._apply(now_us)
        return True

    def refresh(self, now_us: int) -> None:
        """Degrade or recover when the lease says so."""
        freshness = self.lease.freshness(now_us, leases=self.spec.leases)
        if freshness is not self.freshness:
            self.freshness = freshness
            self._apply(now_us)

    def offer(self, account: Account, body: ReserveBody) -> Offer:
        """Return what the request would reserve: expected tokens, the worst case of KV, n slots."""
        spec = self.spec
        most = body.max_tokens if body.max_tokens is not None else spec.default_max_tokens
        output = account.outputs.expect(most) * body.n
        counts = TokenCounts(
            input_tokens=body.input_tokens - body.cached_input_tokens,
            cache_read_tokens=body.cached_input_tokens,
            output_tokens=output,
        )
        kv_bytes = (body.input_tokens + body.n * most) * spec.kv_bytes_per_token
        return Offer(Need(spec.weights.cost_tokens(counts), kv_bytes, body.n), most, output)

    def judge(self, account: Account, need: Need, *, may_demote: bool, now_us: int) -> Verdict:
        """Return the verdict on a request, by the shares as last refreshed."""
        demotable = may_demote and account.spec.service_class.has_baseline
        one_replica = self.spec.per_replica
        most = one_replica if demotable else account.spec.ceiling.at_most(one_replica)
        room = account.room
        return can_never_fit(need, most=most) or decide(
            need,
            standing=Standing(
                room=room,
                slots=account.slots,
                kv_bytes=account.kv_bytes,
                share_open=account.share.admits(now_us),
                ceiling_open=account.ceiling.admits(now_us),
                may_demote=demotable,
            ),
            surplus=Surplus(
                slots=self.outlook.common.slots - self.slots_above,
                kv_bytes=self.outlook.common.kv_bytes - self.kv_bytes_above,
                headroom_slots=self.outlook.headroom_slots,
                open=self.common.admits(now_us),
            ),
        )

    def wait_us(self, account: Account, now_us: int) -> int | None:
        """Return when a bucket that it may use admits again; None: not foreseeable."""
        waits = [account.share.wait_us(now_us)]
        if account.room.may_burst:
            common, ceiling = self.common.wait_us(now_us), account.ceiling.wait_us(now_us)
            waits.append(None if common is None or ceiling is None else max(common, ceiling))
        return min((wait for wait in waits if wait is not None), default=None)

    def hold(self, item: Open) -> None:
        """Hold what a reservation reserves; ``charge`` charges it."""
        self._move(item, sign=1)

    def free(self, item: Open) -> None:
        """Hold a reservation's amounts no longer; its charge stays until ``charge`` corrects it."""
        self._move(item, sign=-1)

    def charge(self, item: Open, tokens: int, *, now_us: int) -> None:
        """Charge tokens (or take back) where the reservation's estimate was charged."""
        account = self.accounts.get(item.entitlement)
        if account is None:  # removed from the spec since
            return
        (self.common if item.in_common else account.share).charge(tokens, now_us=now_us)
        account.ceiling.charge(tokens, now_us=now_us)

    def must_evict(self, item: Open) -> bool:
        """Say whether this reservation has to make room, those already told to counted as gone.

        Lease and hold over: what is held above the static safe share.  Fresh: preemptible
        requests, while more is held above the shares than this admitter's common part.
        """
        account = self.accounts[item.entitlement]
        if self.freshness is Freshness.STALE:
            usable, held = account.room.usable, account.held
            return (
                held.slots - account.evicting_slots > usable.slots
                or held.kv_bytes - account.evicting_kv_bytes > usable.kv_bytes
            )
        fresh = self.freshness is Freshness.FRESH
        if not fresh or item.served_class is not ServiceClass.PREEMPTIBLE:
            return False
        going_slots = sum(each.evicting_slots for each in self.accounts.values())
        going_kv = sum(each.evicting_kv_bytes for each in self.accounts.values())
        common = self.outlook.common
        slots_over = self.slots_above - going_slots > common.slots and account.slots_above > 0
        kv_over = self.kv_bytes_above - going_kv > common.kv_bytes and account.kv_bytes_above > 0
        return slots_over or kv_over

    def evict(self, item: Open, *, by_us: int) -> None:
        """Tell a reservation to stop by then (once)."""
        account = self.accounts[item.entitlement]
        item.evict_us = by_us
        account.evicting_slots += item.slots
        account.evicting_kv_bytes += item.kv_bytes
        account.counters.evicted += 1

    def slots_held(self) -> int:
        """Return the slots of all open reservations of the pool here."""
        return sum(account.slots + account.demoted_slots for account in self.accounts.values())

    def age_ms(self, now_us: int) -> int:
        """Return the age of the state; 0 before the first echo."""
        return (self.lease.age_us(now_us) or 0) // US_PER_MS

    def _move(self, item: Open, *, sign: int) -> None:
        account = self.accounts[item.entitlement]
        self.slots_above -= account.slots_above
        self.kv_bytes_above -= account.kv_bytes_above
        account.hold(item, sign=sign)
        self.slots_above += account.slots_above
        self.kv_bytes_above += account.kv_bytes_above

    def _apply(self, now_us: int) -> None:
        """Give every account its room and its buckets their rates; sum up what is above."""
        self.outlook = outlook(
            self.spec, self.state, incarnation=self.incarnation, freshness=self.freshness
        )
        depth_s = self.spec.bucket_s
        self.common.reshape(self.outlook.common.tokens_per_s, depth_s=depth_s, now_us=now_us)
        for uid, account in self.accounts.items():
            room = self.outlook.rooms.get(uid) or Room(closed=RefusalReason.NOT_BOUND)
            account.room = room
            rate = Dimension.THROUGHPUT
            account.share.reshape(room.usable.of(rate), depth_s=depth_s, now_us=now_us)
            account.ceiling.reshape(room.ceiling.of(rate), depth_s=depth_s, now_us=now_us)
        self.slots_above = sum(account.slots_above for account in self.accounts.values())
        self.kv_bytes_above = sum(account.kv_bytes_above for account in self.accounts.values())
