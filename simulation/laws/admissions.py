"""Law 2 and 4 on each admission: a request starts within its share or the common part, by class.

Read from the state that the admitter follows while its lease lasts (law 8 judges older ones): what
fits its entitlement's share needs nothing else; what does not draws on the admitter's common part,
which guaranteed entitlements may not, and surplus classes only down to the headroom.  The common
part is larger by what guaranteed entitlements leave idle here of what they lend, and smaller by
what they have called back.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.pools import Pool
from schemas.specs import ServiceClass
from simulation.laws.broken import Broken
from simulation.laws.lines import TRIPLE_NAMES, Triple, triple
from simulation.laws.places import Place
from simulation.laws.shadow import Entry, Shadow

KV_CACHE_AND_SLOTS = (1, 2)


def check_admission(pool: Pool, entry: Entry, place: Place, shadow: Shadow) -> Iterator[Broken]:
    """Yield an admission for which there was no room; the request counts already."""
    here = shadow.by_place[entry.door, entry.uid]
    held = (0, here.kv_bytes, here.slots)
    share = place.parts.share(entry.uid)
    need = (0, entry.kv_bytes, entry.slots)
    drawn = [i for i in KV_CACHE_AND_SLOTS if entry.demoted or held[i] > share[i]]
    if not drawn:
        return
    service_class = pool.entitlements[entry.uid].service_class
    if service_class is ServiceClass.GUARANTEED and not entry.demoted:
        text = f"{entry.uid} holds {held} of its share {share} at admitter {entry.door}"
        yield Broken(2, "guaranteed beyond its share", text)
        return
    above = admitted_above(pool, place, shadow, door=entry.door)
    keeps = entry.demoted or not service_class.has_baseline
    headroom = place.parts.headroom(pool.headroom_slots) if keeps else 0
    lent = lent_here(pool, place, shadow, door=entry.door)
    for i in drawn:
        common = place.parts.common[i] + lent[i]
        if above[i] > common:
            text = (
                f"{entry.uid} started with {need[i]} {TRIPLE_NAMES[i]} at admitter {entry.door}, "
                f"{above[i]} are held above the shares of a common part of {common}"
            )
            yield Broken(2, "common part", text)
        elif i == KV_CACHE_AND_SLOTS[-1] and above[i] > common - headroom:
            text = (
                f"{entry.uid} ({entry.served_class}) started at admitter {entry.door} with "
                f"{above[i]} slots above the shares of {common}, {headroom} are to stay free"
            )
            yield Broken(4, "headroom", text)


def lent_here(pool: Pool, place: Place, shadow: Shadow, *, door: int) -> Triple:
    """Return what guaranteed entitlements lend on the spot, less what they have called back."""
    lent = [0, 0, 0]
    for uid, (floor, grant) in place.parts.parts.items():
        spec = pool.entitlements.get(uid)
        if spec is None or spec.service_class is not ServiceClass.GUARANTEED:
            continue
        here, lendable = shadow.by_place[door, uid], triple(spec.lendable)
        held = (0, here.kv_bytes, here.slots)
        for i in KV_CACHE_AND_SLOTS:
            locked = max(0, floor[i] - lendable[i])
            inside = min(held[i], max(floor[i], grant[i]))
            lent[i] += min(lendable[i], max(grant[i], locked) - max(inside, locked))
    return lent[0], lent[1], lent[2]


def most_lent(pool: Pool, place: Place) -> Triple:
    """Return the most that they may ever lend here by the state that is followed."""
    lent = [0, 0, 0]
    for uid, (_, grant) in place.parts.parts.items():
        if uid in pool.entitlements:
            lendable = triple(pool.entitlements[uid].lendable)
            for i in KV_CACHE_AND_SLOTS:
                lent[i] += min(lendable[i], grant[i])
    return lent[0], lent[1], lent[2]


def admitted_above(pool: Pool, place: Place, shadow: Shadow, *, door: int) -> Triple:
    """Return what is held above the shares, and by demoted requests."""
    kv_bytes = slots = 0
    for uid in pool.entitlements:
        held, share = shadow.by_place[door, uid], place.parts.share(uid)
        kv_bytes += max(0, held.kv_bytes - share[1])
        slots += max(0, held.slots - share[2])
    for entry in shadow.open_at[door]:
        if entry.demoted:
            kv_bytes, slots = kv_bytes + entry.kv_bytes, slots + entry.slots
    return 0, kv_bytes, slots
