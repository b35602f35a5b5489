"""One pool at this admitter: its spec, the state it follows, and what its entitlements hold.

``refresh`` brings every share up to date with the state and the age of the lease; ``hold`` and
``free`` are the only ways to change what is held.  The sums above all shares are kept, so a
decision costs the same with ten entitlements as with ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from admission.core.account import Account
from admission.core.bucket import Bucket
from admission.core.decision import (
    FITS_ITS_SHARE,
    Fits,
    Need,
    Short,
    Standing,
    Surplus,
    Verdict,
    can_never_fit,
    decide,
)
from admission.core.eviction import NO_SPACE, Space
from admission.core.pending import Pending
from admission.core.reclaim import Reclaim, kept_of, less_going, over_kept
from admission.core.reservations import Open
from admission.core.share import Outlook, Room, outlook
from admission.core.staleness import Freshness, Lease
from schemas.decisions import RefusalReason
from schemas.pools import Pool
from schemas.positions import NO_VERSION, Version
from schemas.reservations import ReserveBody
from schemas.specs import ServiceClass
from schemas.state import AdmissionState, AdmitterView
from schemas.units import AMOUNT_MAX, NOTHING, US_PER_MS, Dimension, Held, TokenCounts


class Offer(Struct, frozen=True, gc=False):
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
    rounds: int = 0
    """Ticks that were reported; a round may take several reports."""
    adoptions: dict[tuple[str, str], Held] = field(default_factory=dict)
    """Adopted so far, by dead incarnation and entitlement."""
    declared_dead: bool = False
    version_text: str = str(NO_VERSION)
    reclaim: Reclaim = field(default_factory=Reclaim)
    held: Space = NO_SPACE
    """By all open reservations of the pool here."""
    kept: Space = NO_SPACE
    """All that is lent to nobody here, and the common part."""
    lent_used: Space = NO_SPACE
    """Held inside shares, above the parts that are lent to nobody: what was called back."""
    lent_idle: Space = NO_SPACE
    """Idle of those parts, as far as their entitlements lend: lent here and now."""

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
        self.version_text = str(state.version)
        self.reclaim.awaited = Pending()
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
        most = self.spec.per_replica if demotable else account.most
        impossible = can_never_fit(need, most=most)
        if impossible is not None:
            return impossible
        preemptible = account.spec.service_class is ServiceClass.PREEMPTIBLE
        if preemptible and self.must_wait(need, now_us):
            limit = account.room.usable.slots
            return Short(RefusalReason.CONTENDED, Dimension.CONCURRENCY, limit)
        if account.covers(need.slots, need.kv_bytes) and account.share.admits(now_us):
            return FITS_ITS_SHARE
        standing = self._standing(account, may_demote=demotable, now_us=now_us)
        return decide(need, standing=standing, surplus=self._surplus(now_us))

    def lacks_only_room(self, account: Account, need: Need, *, now_us: int) -> bool:
        """Say whether a request would start if slots and KV above the shares were free."""
        standing = self._standing(account, may_demote=False, now_us=now_us)
        endless = Surplus(AMOUNT_MAX, AMOUNT_MAX, 0, self.common.admits(now_us))
        return isinstance(decide(need, standing=standing, surplus=endless), Fits)

    def must_wait(self, need: Need, now_us: int) -> bool:
        """Say whether a preemptible request would take room that higher classes wait for.

        They were refused and told when to come back, or took back what they had lent.
        """
        self.reclaim.awaited.lapse(now_us)
        if self.reclaim.awaited.entries:
            return True
        used = self._lent_in_use()
        if used.is_nothing:
            return False
        over = over_kept(self.reclaim, held=self.held, kept=self.kept)
        slots_short = used.slots > 0 and over.slots + need.slots > 0
        return slots_short or (used.kv_bytes > 0 and over.kv_bytes + need.kv_bytes > 0)

    def free_above(self, account: Account) -> Space:
        """Return the slots and KV above all shares that are free for an entitlement."""
        kept = self.outlook.headroom_slots if account.room.leaves_headroom else 0
        return self._free().less(Space(slots=kept))

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
        self.reclaim.enter(item)

    def free(self, item: Open) -> None:
        """Hold a reservation's amounts no longer; its charge stays until ``charge`` corrects it."""
        self._move(item, sign=-1)
        self.reclaim.leave(item)

    def charge(self, item: Open, tokens: int, *, now_us: int) -> None:
        """Charge tokens (or take back) where the reservation's estimate was charged."""
        account = self.accounts.get(item.entitlement)
        if account is None:  # removed from the spec since
            return
        (self.common if item.in_common else account.share).charge(tokens, now_us=now_us)
        if not item.demoted:
            account.ceiling.charge(tokens, now_us=now_us)

    def over_share(self, item: Open) -> bool:
        """Say whether lease and hold are over and more is held than the static safe share."""
        if self.freshness is not Freshness.STALE or item.evict_reason:
            return False
        account = self.accounts[item.entitlement]
        usable, held = account.room.usable, account.held
        return (
            held.slots - account.evicting_slots > usable.slots
            or held.kv_bytes - account.evicting_kv_bytes > usable.kv_bytes
        )

    def over_common(self) -> Space:
        """Return what is held above the shares and the common part, and is not going."""
        if self.freshness is not Freshness.FRESH:
            return NO_SPACE
        over = NO_SPACE.less(self._free())
        if over.is_nothing:
            return over
        going = {item.entitlement for item in self.reclaim.going.values()}
        return less_going(over, [self.accounts[uid] for uid in going])

    def called_back(self, item: Open) -> Space:
        """Return the room that a request just admitted takes from those to whom it was lent."""
        used = self._lent_in_use()
        if used.is_nothing or item.demoted or self.freshness is not Freshness.FRESH:
            return NO_SPACE
        if item.served_class is ServiceClass.PREEMPTIBLE:
            return NO_SPACE
        over = over_kept(self.reclaim, held=self.held, kept=self.kept)
        return over.at_most(used).at_most(Space(item.slots, item.kv_bytes))

    def send_away(self, item: Open, reason: str) -> None:
        """Choose a reservation to make room (once); it is told so at its next renewal."""
        account = self.accounts[item.entitlement]
        item.evict_reason = reason
        account.evicting_slots += item.slots
        account.evicting_kv_bytes += item.kv_bytes
        self.reclaim.send_away(item)

    def age_ms(self, now_us: int) -> int:
        """Return the age of the state; 0 before the first echo."""
        return (self.lease.age_us(now_us) or 0) // US_PER_MS

    def _standing(self, account: Account, *, may_demote: bool, now_us: int) -> Standing:
        return Standing(
            room=account.room,
            slots=account.slots,
            kv_bytes=account.kv_bytes,
            share_open=account.share.admits(now_us),
            ceiling_open=account.ceiling.admits(now_us),
            may_demote=may_demote,
        )

    def _surplus(self, now_us: int) -> Surplus:
        free = self._free()
        return Surplus(
            slots=free.slots,
            kv_bytes=free.kv_bytes,
            headroom_slots=self.outlook.headroom_slots,
            open=self.common.admits(now_us),
        )

    def _free(self) -> Space:
        """Return what is free above the shares: of the common part, and of what is lent at once.

        What was called back of the floors is free for nobody else.
        """
        common = self.outlook.common
        free = Space(common.slots - self.slots_above, common.kv_bytes - self.kv_bytes_above)
        if self.freshness is not Freshness.FRESH:
            return free
        return free.plus(self.lent_idle).less(self.lent_used)

    def _lent_in_use(self) -> Space:
        """Return what is held of others' parts: by those it was lent to, or called back."""
        common, used = self.outlook.common, self.lent_used
        return Space(
            used.slots + max(0, self.slots_above - common.slots),
            used.kv_bytes + max(0, self.kv_bytes_above - common.kv_bytes),
        )

    def _move(self, item: Open, *, sign: int) -> None:
        account = self.accounts[item.entitlement]
        self.slots_above -= account.slots_above
        self.kv_bytes_above -= account.kv_bytes_above
        if account.lends:
            self.lent_used = self.lent_used.less(account.called_back)
            self.lent_idle = self.lent_idle.less(account.idle_lent)
        account.hold(item, sign=sign)
        if account.lends:
            self.lent_used = self.lent_used.plus(account.called_back)
            self.lent_idle = self.lent_idle.plus(account.idle_lent)
        self.held = Space(
            self.held.slots + sign * item.slots, self.held.kv_bytes + sign * item.kv_bytes
        )
        self.slots_above += account.slots_above
        self.kv_bytes_above += account.kv_bytes_above

    def _apply(self, now_us: int) -> None:
        """Give every account its room and its buckets their rates; sum up what is above."""
        self.outlook = outlook(
            self.spec, self.state, incarnation=self.incarnation, freshness=self.freshness
        )
        depth_s = self.spec.bucket_s
        states = {} if self.state is None else {s.entitlement: s for s in self.state.entitlements}
        self.common.reshape(self.outlook.common.tokens_per_s, depth_s=depth_s, now_us=now_us)
        for uid, account in self.accounts.items():
            room = self.outlook.rooms.get(uid) or Room(closed=RefusalReason.NOT_BOUND)
            account.room = room
            account.most = account.spec.ceiling.at_most(self.spec.per_replica)
            account.kept, account.locked = kept_of(
                account.spec, states.get(uid), incarnation=self.incarnation
            )
            account.lends = account.spec.lendable != NOTHING or not account.kept.covers(room.usable)
            rate = Dimension.THROUGHPUT
            account.share.reshape(room.usable.of(rate), depth_s=depth_s, now_us=now_us)
            account.ceiling.reshape(room.ceiling.of(rate), depth_s=depth_s, now_us=now_us)
        self.slots_above = sum(account.slots_above for account in self.accounts.values())
        self.kv_bytes_above = sum(account.kv_bytes_above for account in self.accounts.values())
        kept = self.outlook.common
        self.lent_used = self.lent_idle = NO_SPACE
        for account in self.accounts.values():
            kept += account.kept
            if account.lends:
                self.lent_used = self.lent_used.plus(account.called_back)
                self.lent_idle = self.lent_idle.plus(account.idle_lent)
        self.kept = Space(kept.slots, kept.kv_bytes)
