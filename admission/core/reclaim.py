"""Reclaiming: when must preemptible reservations make room, and how much of it?

Three occasions, all judged by what this admitter holds:

* room that was lent is taken back: requests run inside a floor that was idle, and with the request
  just admitted more is held than is lent to nobody (it is admitted all the same; law 3);
* a request of a higher class finds no room (it is refused and comes back when the room is free);
* a newer state leaves less common room than is held above the shares.

Room is never asked for twice: what is going already counts as free, and so that those who wait do
not count on the same room, what each of them waits for is remembered until it is admitted, gives
up or the next state comes, whose fill has seen it as demand.  While somebody waits, or what was
lent is wanted back, nothing preemptible starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from admission.core.account import Account
from admission.core.eviction import CANDIDATES_MAX, Space, held_by, victims
from admission.core.pending import Pending
from admission.core.reservations import Open
from schemas.pools import Entitlement
from schemas.specs import ServiceClass
from schemas.state import EntitlementState
from schemas.units import NOTHING, Resources


@dataclass(slots=True)
class Reclaim:
    """The reservations of one pool here that can make room, and who waits for it."""

    renewable: dict[int, Open] = field(default_factory=dict)
    """Preemptible, renewed by their gateways, and not going yet; oldest first."""
    going: dict[int, Open] = field(default_factory=dict)
    """Of any class: they have to make room, and still hold theirs."""
    going_slots: int = 0
    going_kv_bytes: int = 0
    awaited: Pending = field(default_factory=Pending)
    """Room that refused requests were told to come back for, by entitlement and request."""

    def enter(self, item: Open) -> None:
        """Know a reservation from its start."""
        if item.served_class is ServiceClass.PREEMPTIBLE and item.renew_ms:
            self.renewable[item.number] = item

    def leave(self, item: Open) -> None:
        """Forget one that has ended."""
        self.renewable.pop(item.number, None)
        if self.going.pop(item.number, None) is not None:
            self.going_slots -= item.slots
            self.going_kv_bytes -= item.kv_bytes

    def send_away(self, item: Open) -> None:
        """Count a reservation as going, once."""
        self.renewable.pop(item.number, None)
        self.going[item.number] = item
        self.going_slots += item.slots
        self.going_kv_bytes += item.kv_bytes

    def youngest(self) -> list[Open]:
        """Return who can still be told to go, youngest first."""
        return list(islice(reversed(self.renewable.values()), CANDIDATES_MAX))

    def choose(self, wanted: Space) -> list[Open]:
        """Return the fewest that free all that is wanted; nobody when all do not."""
        return [] if wanted.is_nothing else victims(self.youngest(), wanted=wanted)

    def choose_what_helps(self, wanted: Space, *, only: set[str] | None = None) -> list[Open]:
        """Return the fewest that free what is wanted, or as much of it as they all hold."""
        if wanted.is_nothing:
            return []
        candidates = [item for item in self.youngest() if only is None or item.entitlement in only]
        return victims(candidates, wanted=wanted.at_most(held_by(candidates)))


def kept_of(
    spec: Entitlement, state: EntitlementState | None, *, incarnation: str
) -> tuple[Resources, Resources]:
    """Return the part of an admitter's share that the state lends to nobody, and that never is.

    The former is its grant, the latter what its part of the floor exceeds all that it lends by.
    """
    for share in () if state is None else state.shares:
        if share.admitter == incarnation:
            locked = (share.floor - spec.lendable).at_least(NOTHING)
            return share.grant.at_least(locked), locked
    return NOTHING, NOTHING


def over_kept(reclaim: Reclaim, *, held: Space, kept: Space) -> Space:
    """Return how much is held and awaited, less what is going, above what is lent to nobody.

    ``held`` is all that is held here, ``kept`` all that is lent to nobody and the common part.  As
    long as no more is held than kept, nobody is in anybody's place.
    """
    awaited = reclaim.awaited.total
    return Space(
        held.slots + awaited.slots - reclaim.going_slots - kept.slots,
        held.kv_bytes + awaited.kv_bytes - reclaim.going_kv_bytes - kept.kv_bytes,
    )


def short_of(reclaim: Reclaim, *, free: Space) -> Space:
    """Return what those who wait still miss, ``free`` and what is going counted as theirs."""
    awaited = reclaim.awaited.total
    return Space(
        awaited.slots - max(0, free.slots) - reclaim.going_slots,
        awaited.kv_bytes - max(0, free.kv_bytes) - reclaim.going_kv_bytes,
    )


def less_going(over: Space, accounts: Iterable[Account]) -> Space:
    """Return what is too much above the shares, less what is going of it at these accounts."""
    slots, kv_bytes = over.slots, over.kv_bytes
    for account in accounts:
        slots -= min(account.evicting_slots, account.slots_above)
        kv_bytes -= min(account.evicting_kv_bytes, account.kv_bytes_above)
    return Space(slots, kv_bytes)
