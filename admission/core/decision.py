"""The decision: may this request start?  One verdict over all three dimensions.

A request first uses its entitlement's share here.  What does not fit the share, in the dimension
where it does not fit, draws on this admitter's part of the common share: within the ceiling, and
for surplus classes only as long as the headroom stays free.  ``decide`` looks at everything before
anything is taken, so a refusal burns nothing.  Two promises: inside its share a request is never
refused (law 3), and what is held never exceeds the shares plus the common part (law 2).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from admission.core.share import Room
from schemas.decisions import RefusalReason
from schemas.units import Dimension, Resources


class Need(Struct, frozen=True, gc=False):
    """What one request reserves; ``tokens`` are weighted, ``kv_bytes`` the worst case."""

    tokens: int
    kv_bytes: int
    slots: int


class Standing(Struct, frozen=True, gc=False):
    """Where the entitlement stands here, its demoted requests left out."""

    room: Room
    slots: int
    kv_bytes: int
    share_open: bool
    """Its own bucket admits."""
    ceiling_open: bool
    """The bucket of its ceiling admits."""
    may_demote: bool = False


class Surplus(Struct, frozen=True, gc=False):
    """What is free above all shares here."""

    slots: int
    kv_bytes: int
    headroom_slots: int
    open: bool
    """The bucket of the common throughput admits."""


class Fits(Struct, frozen=True, gc=False):
    """It may start."""

    in_common: bool
    """Its throughput is charged to the common share."""


FITS_ITS_SHARE: Final = Fits(in_common=False)


class FitsDemoted(Struct, frozen=True, gc=False):
    """It may start as spot: all of it in the common share."""


class Short(Struct, frozen=True, gc=False):
    """It may not start: the reason, the dimension, and the limit that it met in that unit."""

    reason: RefusalReason
    dimension: Dimension | None = None
    limit: int = 0


Verdict = Fits | FitsDemoted | Short


def decide(need: Need, *, standing: Standing, surplus: Surplus) -> Verdict:
    """Return the verdict on ``need``; nothing is changed by asking."""
    room = standing.room
    if room.closed is not None:
        return Short(room.closed)
    short = (
        _short_of(Dimension.CONCURRENCY, need.slots, standing.slots, room, surplus.slots, surplus)
        or _short_of(
            Dimension.KV_CACHE, need.kv_bytes, standing.kv_bytes, room, surplus.kv_bytes, surplus
        )
        or _short_of_throughput(standing, surplus)
    )
    if short is None:
        return FITS_ITS_SHARE if standing.share_open else Fits(in_common=True)
    if standing.may_demote and _demotes(short, room) and _fits_as_spot(need, surplus):
        return FitsDemoted()
    return short


def can_never_fit(need: Need, *, most: Resources) -> Short | None:
    """Return why ``need`` is impossible whatever is free; None when it is possible."""
    if need.slots > most.slots:
        return Short(RefusalReason.IMPOSSIBLE, Dimension.CONCURRENCY, most.slots)
    if need.kv_bytes > most.kv_bytes:
        return Short(RefusalReason.IMPOSSIBLE, Dimension.KV_CACHE, most.kv_bytes)
    if most.tokens_per_s == 0:
        return Short(RefusalReason.IMPOSSIBLE, Dimension.THROUGHPUT, 0)
    return None


def _short_of(
    dimension: Dimension, need: int, held: int, room: Room, free: int, surplus: Surplus
) -> Short | None:
    """Return why slots or KV do not fit; None when they do.  ``free`` is above all shares."""
    usable = room.usable.of(dimension)
    drawn = min(need, held + need - usable)
    if drawn <= 0:
        return None
    kept = surplus.headroom_slots if _keeps_headroom(dimension, room) else 0
    within = held + need <= room.ceiling.of(dimension)
    if room.may_burst and within and drawn <= free - kept:
        return None
    return _short(
        dimension, room, inside_floor=held + need <= room.floor.of(dimension), at_ceiling=not within
    )


def _short_of_throughput(standing: Standing, surplus: Surplus) -> Short | None:
    room = standing.room
    if standing.share_open or (room.may_burst and standing.ceiling_open and surplus.open):
        return None
    inside = room.usable.tokens_per_s < room.floor.tokens_per_s
    at_ceiling = room.may_burst and not standing.ceiling_open
    return _short(Dimension.THROUGHPUT, room, inside_floor=inside, at_ceiling=at_ceiling)


def _short(dimension: Dimension, room: Room, *, inside_floor: bool, at_ceiling: bool) -> Short:
    """Name the reason: a part of the floor used up, the own limit, or contention."""
    usable, floor = room.usable.of(dimension), room.floor.of(dimension)
    if inside_floor and usable < floor:
        return Short(RefusalReason.SHARE_EXHAUSTED, dimension, usable)
    if not room.may_burst:
        elsewhere = usable < room.whole.of(dimension)
        reason = RefusalReason.SHARE_EXHAUSTED if elsewhere else RefusalReason.LIMIT_REACHED
        return Short(reason, dimension, usable)
    if at_ceiling:
        return Short(RefusalReason.LIMIT_REACHED, dimension, room.ceiling.of(dimension))
    return Short(RefusalReason.CONTENDED, dimension, usable)


def _keeps_headroom(dimension: Dimension, room: Room) -> bool:
    return dimension is Dimension.CONCURRENCY and room.leaves_headroom


def _demotes(short: Short, room: Room) -> bool:
    """Only the entitlement's own limit demotes; a share used up is tried at the home first."""
    exhausted = short.reason is RefusalReason.SHARE_EXHAUSTED and room.at_home
    return exhausted or short.reason is RefusalReason.LIMIT_REACHED


def _fits_as_spot(need: Need, surplus: Surplus) -> bool:
    return (
        surplus.open
        and need.slots <= surplus.slots - surplus.headroom_slots
        and need.kv_bytes <= surplus.kv_bytes
    )
