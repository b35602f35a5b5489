"""Accounts: what one entitlement holds, is owed and has been answered at this admitter.

Held slots and KV are kept apart for requests served in the entitlement's own class and for demoted
ones, because a demoted request must never fill a share that its own class has a right to.  What is
above the share is not remembered per request: it is held minus usable, so that a share that grows
covers what runs already.  Counters are cumulative for the life of the incarnation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from admission.core.bucket import Bucket
from admission.core.estimator import EstimateRecord, HeldDuration, MeanDuration, OutputEstimator
from admission.core.eviction import Space
from admission.core.pending import Pending
from admission.core.reservations import Open
from admission.core.share import Room
from schemas.decisions import RefusalReason
from schemas.pools import Entitlement
from schemas.reports import OTHER_SOURCES, SOURCES_MAX, UNNAMED_SOURCE
from schemas.units import NO_TOKENS, NOTHING, US_PER_MS, Held, Resources, TokenCounts


@dataclass(slots=True)
class Counters:
    """How often, since this incarnation began."""

    admitted: int = 0
    demoted: int = 0
    adopted: int = 0
    settled: int = 0
    released: int = 0
    expired: int = 0
    evicted: int = 0
    late_settled: int = 0
    reserved_tokens: int = 0
    charged_tokens: int = 0
    estimate_error_tokens: int = 0
    """Sum of |estimate - actual| over what was settled."""
    shadow_refused: dict[str, int] = field(default_factory=dict)
    """By the reason that each would have been refused for."""
    shadow_demoted: int = 0
    shadow_evicted: int = 0
    settled_tokens: TokenCounts = NO_TOKENS
    settled_by_source: dict[str, int] = field(default_factory=dict)
    """Tokens of all classes, by who emits their usage events; at most ``SOURCES_MAX`` names."""
    refused: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)

    def settle(self, used: TokenCounts, *, source: str) -> None:
        """Count what a gateway settled."""
        self.settled_tokens += used
        known, name = self.settled_by_source, source or UNNAMED_SOURCE
        if name not in known and len(known) >= SOURCES_MAX:
            name = OTHER_SOURCES
        known[name] = known.get(name, 0) + used.total

    def refuse(self, reason: RefusalReason, *, unique: bool) -> None:
        """Count one refusal; a retry of the same request is an attempt only."""
        self.attempts[reason] = self.attempts.get(reason, 0) + 1
        if unique:
            self.refused[reason] = self.refused.get(reason, 0) + 1


@dataclass(slots=True)
class Largest:
    """The largest amount of the last window (of this one and the one before it, to be exact)."""

    current: int = 0
    previous: int = 0
    window: int = 0

    def observe(self, amount: int, *, now_us: int, window_ms: int) -> None:
        """Fold one amount in."""
        self._turn(now_us, window_ms)
        self.current = max(self.current, amount)

    def value(self, *, now_us: int, window_ms: int) -> int:
        """Return the largest; amounts older than two windows are forgotten."""
        self._turn(now_us, window_ms)
        return max(self.current, self.previous)

    def _turn(self, now_us: int, window_ms: int) -> None:
        window = now_us // (window_ms * US_PER_MS)
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else 0
            self.current, self.window = 0, window


@dataclass(slots=True)
class Account:
    """One entitlement here."""

    spec: Entitlement
    room: Room = field(default_factory=Room)
    share: Bucket = field(default_factory=Bucket)
    ceiling: Bucket = field(default_factory=Bucket)
    most: Resources = NOTHING
    """The most that one request of it may reserve."""
    kept: Resources = NOTHING
    """The part of its share here that the state lends to nobody."""
    locked: Resources = NOTHING
    """The part of its share here that is never lent."""
    lends: bool = False
    """Whether any of its share here may be used by others."""
    slots: int = 0
    kv_bytes: int = 0
    demoted_slots: int = 0
    demoted_kv_bytes: int = 0
    tokens: int = 0
    common_tokens: int = 0
    """The part of ``tokens`` that was charged to the common share."""
    evicting_slots: int = 0
    evicting_kv_bytes: int = 0
    """Held by reservations that have to make room."""
    pending: Pending = field(default_factory=Pending)
    withdrawn: Pending = field(default_factory=Pending)
    outputs: OutputEstimator = field(default_factory=OutputEstimator)
    estimates: EstimateRecord = field(default_factory=EstimateRecord)
    duration: MeanDuration = field(default_factory=MeanDuration)
    held_duration: HeldDuration = field(default_factory=HeldDuration)
    largest: Largest = field(default_factory=Largest)
    counters: Counters = field(default_factory=Counters)

    @property
    def held(self) -> Held:
        """All that its open reservations hold."""
        return Held(
            self.tokens, self.kv_bytes + self.demoted_kv_bytes, self.slots + self.demoted_slots
        )

    @property
    def slots_above(self) -> int:
        """Slots that draw on the common share."""
        over = self.slots - self.room.usable.slots
        return self.demoted_slots + over if over > 0 else self.demoted_slots

    @property
    def kv_bytes_above(self) -> int:
        """KV cache that draws on the common share."""
        over = self.kv_bytes - self.room.usable.kv_bytes
        return self.demoted_kv_bytes + over if over > 0 else self.demoted_kv_bytes

    def covers(self, slots: int, kv_bytes: int) -> bool:
        """Say whether its share has room for so much more; nobody else need be asked then."""
        room = self.room
        usable = room.usable
        return (
            room.closed is None
            and self.slots + slots <= usable.slots
            and self.kv_bytes + kv_bytes <= usable.kv_bytes
        )

    @property
    def is_above(self) -> bool:
        """Whether it draws on the common share in slots or KV."""
        return self.slots_above > 0 or self.kv_bytes_above > 0

    @property
    def called_back(self) -> Space:
        """Held inside the share, above the part of it that is lent to nobody."""
        usable, kept = self.room.usable, self.kept
        return Space(
            max(0, min(self.slots, usable.slots) - kept.slots),
            max(0, min(self.kv_bytes, usable.kv_bytes) - kept.kv_bytes),
        )

    @property
    def idle_lent(self) -> Space:
        """What it leaves idle of the part that the state lends to nobody, as far as it lends."""
        usable, kept, locked = self.room.usable, self.kept, self.locked
        return Space(
            kept.slots - max(min(self.slots, usable.slots), locked.slots),
            kept.kv_bytes - max(min(self.kv_bytes, usable.kv_bytes), locked.kv_bytes),
        ).at_most(Space(self.spec.lendable.slots, self.spec.lendable.kv_bytes))

    def hold(self, item: Open, *, sign: int = 1) -> None:
        """Hold what a reservation reserves, or (sign -1) hold it no longer."""
        if item.demoted:
            self.demoted_slots += sign * item.slots
            self.demoted_kv_bytes += sign * item.kv_bytes
        else:
            self.slots += sign * item.slots
            self.kv_bytes += sign * item.kv_bytes
        self.tokens += sign * item.tokens
        if item.in_common:
            self.common_tokens += sign * item.tokens
        if item.evict_reason:
            self.evicting_slots += sign * item.slots
            self.evicting_kv_bytes += sign * item.kv_bytes
        assert min(self.slots, self.kv_bytes, self.demoted_slots, self.tokens) >= 0
