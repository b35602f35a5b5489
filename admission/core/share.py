"""Shares: what may each entitlement use at this admitter, by the state that it follows?

``Room`` is the answer for one entitlement: its usable share here, how far it may go above it, and
why it is closed if it is.  A ceiling belongs to the whole entitlement, an admitter sees only what
it holds itself; so what lies between the shares and the ceiling is split evenly over the live
admitters, the remainder at the home, and the parts never sum to more than the ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from admission.core.staleness import Freshness, safe_share
from schemas.decisions import RefusalReason
from schemas.pools import UNLIMITED, Entitlement, Pool
from schemas.specs import ServiceClass
from schemas.state import AdmissionState, EntitlementState, EntitlementStatus
from schemas.units import NOTHING, Resources

SERVED = (EntitlementStatus.BOUND, EntitlementStatus.DEGRADED)


@dataclass(frozen=True, slots=True)
class Room:
    """What one entitlement may use here."""

    usable: Resources = NOTHING
    ceiling: Resources = NOTHING
    """The most it may use here, the common share included."""
    whole: Resources = NOTHING
    """The larger of floor and grant over all admitters."""
    floor: Resources = NOTHING
    home: str = ""
    home_url: str = ""
    at_home: bool = False
    may_burst: bool = False
    leaves_headroom: bool = False
    closed: RefusalReason | None = None
    """Nothing new may start, for this reason."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What this admitter may use of a pool: a room for each entitlement, and the common part."""

    rooms: Mapping[str, Room]
    common: Resources = NOTHING
    headroom_slots: int = 0
    """Its part of the slots that surplus classes leave free."""


def outlook(
    pool: Pool, state: AdmissionState | None, *, incarnation: str, freshness: Freshness
) -> Outlook:
    """Return what ``incarnation`` may use of the pool now."""
    if state is None or freshness is Freshness.NONE:
        return Outlook({uid: Room(closed=RefusalReason.NO_STATE) for uid in pool.entitlements})
    urls = {view.incarnation: view.url for view in state.admitters if view.alive}
    states = {entitlement.entitlement: entitlement for entitlement in state.entitlements}
    rooms = {
        uid: _room(spec, states.get(uid), incarnation=incarnation, urls=urls)
        for uid, spec in pool.entitlements.items()
    }
    if freshness is not Freshness.FRESH:
        degraded = {
            uid: _degraded(room, pool.entitlements[uid], freshness, pool.leases.admitters_max)
            for uid, room in rooms.items()
        }
        return Outlook(degraded)
    common = next((v.common for v in state.admitters if v.incarnation == incarnation), NOTHING)
    headroom = _part_of_headroom(pool.headroom_slots, incarnation, sorted(urls))
    return Outlook(rooms, common=common, headroom_slots=headroom)


def _part_of_headroom(slots: int, incarnation: str, live: Sequence[str]) -> int:
    """Return an even part; what is left over is kept by the first ones, a slot each."""
    if incarnation not in live:
        return slots
    part, rest = divmod(slots, len(live))
    return part + (live.index(incarnation) < rest)


def _room(
    spec: Entitlement, state: EntitlementState | None, *, incarnation: str, urls: Mapping[str, str]
) -> Room:
    if state is None or state.status not in SERVED:
        return Room(closed=RefusalReason.NOT_BOUND)
    at_home = state.home == incarnation
    usable = total = NOTHING
    for share in state.shares:
        total += share.usable
        if share.admitter == incarnation:
            usable = share.usable
    return Room(
        usable=usable,
        ceiling=_ceiling(spec.ceiling, usable=usable, total=total, of=len(urls), home=at_home),
        whole=state.floor.at_least(state.grant),
        floor=state.floor,
        home=state.home,
        home_url="" if at_home else urls.get(state.home, ""),
        at_home=at_home,
        may_burst=spec.service_class.may_burst,
        leaves_headroom=not spec.service_class.has_baseline,
    )


def _ceiling(
    ceiling: Resources, *, usable: Resources, total: Resources, of: int, home: bool
) -> Resources:
    """Return usable + an even part of (ceiling - all shares), rounded down except at home."""
    above = (ceiling - total).at_least(NOTHING)
    part = above.split(max(1, of))
    if home:
        part = above - part.times(max(1, of) - 1)
    return (usable + part).at_most(UNLIMITED)


def _degraded(room: Room, spec: Entitlement, freshness: Freshness, admitters_max: int) -> Room:
    """Return the room when the lease has run out; nobody draws on the common share then."""
    if room.closed is not None:
        return room
    elastic = spec.service_class is ServiceClass.ELASTIC
    usable = NOTHING
    if freshness is Freshness.HOLD and spec.service_class.has_baseline:
        usable = room.usable.at_most(spec.baseline)
    elif spec.service_class.is_reserved:
        usable = safe_share(room.floor, admitters_max=admitters_max, at_home=room.at_home)
    stopped = not spec.service_class.has_baseline or (elastic and freshness is Freshness.STALE)
    return Room(
        usable=usable,
        ceiling=usable,
        whole=room.whole,
        floor=room.floor,
        home=room.home,
        home_url=room.home_url,
        at_home=room.at_home,
        closed=RefusalReason.STATE_STALE if stopped else None,
    )
