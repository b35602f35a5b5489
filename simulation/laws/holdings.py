"""Law 2 on what is held: slots and KV cache never exceed capacity plus the exported bound.

Held is what gateways were let start and what has neither ended nor run out, over all admitters, the
reservations of killed incarnations included (``simulation.laws.shadow``).  The bound in force is
the one of the newest tick by version: it is exported at every tick, and says how far the states
that anybody may still follow reach.  A bound of an older tick would forgive what is over.  At every
tick also what *may* be held by the states that admitters follow at that instant must stay within.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from admission.core.staleness import Freshness
from schemas.pools import Pool
from schemas.positions import NO_VERSION, Version
from schemas.ticks import Tick
from simulation.laws.admissions import admitted_above, most_lent
from simulation.laws.broken import Broken
from simulation.laws.lines import TRIPLE_NAMES, Triple, triple
from simulation.laws.places import Place
from simulation.laws.shadow import Shadow, Stock

_NOTHING: Final[Triple] = (0, 0, 0)


@dataclass(slots=True)
class Holdings:
    """The limit in force for slots and KV cache."""

    version: Version = NO_VERSION
    capacity: Triple = _NOTHING
    bound: Triple = _NOTHING
    _judged: tuple[int, int] = (0, 0)

    def tick(self, tick: Tick) -> None:
        """Learn a bound; that of an older version is not in force any more."""
        if tick.version > self.version:
            self.version = tick.version
            self.capacity, self.bound = triple(tick.capacity), triple(tick.overshoot_bound)
            self._judged = (0, 0)

    def check(self, held: Stock) -> Iterator[Broken]:
        """Yield what is held beyond the limit."""
        now = (held.slots, held.kv_bytes)
        if now == self._judged:
            return
        self._judged = now
        for index, amount in ((2, held.slots), (1, held.kv_bytes)):
            limit = self.capacity[index] + self.bound[index]
            if amount > limit:
                text = (
                    f"{amount} {TRIPLE_NAMES[index]} are held, capacity {self.capacity[index]} "
                    f"and bound {self.bound[index]} of tick {self.version} allow {limit}"
                )
                yield Broken(2, "held", text)

    def check_reach(self, pool: Pool, places: Sequence[Place], shadow: Shadow) -> Iterator[Broken]:
        """Yield what may be held by the states that are followed now, beyond the limit.

        ``places`` are those that follow shares; of all others counts what they hold.
        """
        kv_bytes, slots = shadow.held.kv_bytes, shadow.held.slots
        for place in places:
            more = _room_left(pool, place, shadow)
            kv_bytes, slots = kv_bytes + more[1], slots + more[2]
        for index, amount in ((2, slots), (1, kv_bytes)):
            limit = self.capacity[index] + self.bound[index]
            if amount > limit:
                text = (
                    f"{amount} {TRIPLE_NAMES[index]} may be held by the states that are followed, "
                    f"capacity {self.capacity[index]} and bound {self.bound[index]} of tick "
                    f"{self.version} allow {limit}"
                )
                yield Broken(2, "may be held", text)


def _room_left(pool: Pool, place: Place, shadow: Shadow) -> Triple:
    """Return what an admitter may still admit while its lease lasts; one that leaves, nothing."""
    desk = place.desk
    gate = place.gate
    if desk is None or gate is None or gate.leaving or desk.freshness is not Freshness.FRESH:
        return _NOTHING
    kv_bytes = slots = 0
    above = admitted_above(pool, place, shadow, door=place.index)
    for uid in pool.entitlements:
        held, share = shadow.by_place[place.index, uid], place.parts.share(uid)
        kv_bytes += max(0, share[1] - held.kv_bytes)
        slots += max(0, share[2] - held.slots)
    lent = most_lent(pool, place)
    common = [part + more for part, more in zip(place.parts.common, lent, strict=True)]
    return 0, kv_bytes + max(0, common[1] - above[1]), slots + max(0, common[2] - above[2])
