"""Law 6 on what it rests on: the allocator sees the demand that was refused.

Demand in slots is what is held plus what was refused for contention and may come back.  The judge
counts it from the answers alone; each tick must know at least the smallest amount there was since
the oldest report that it used was sent.  A tick is judged only when every admitter that answers
was heard lately.

Left out: entitlements of which an admitter that cannot report holds or refused something (what it
admitted since its last report is in the exported bound, and in nobody's demand).  And what the
reports that the tick used said to have come back from another admitter: it is taken off, since it
is pending there too; but how old a ticket is says a wall clock, and where that is slow it is taken
off for too long, until a report says otherwise.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from admission.core.pool import PoolDesk
from schemas.decisions import RefusalReason
from schemas.pools import Pool
from schemas.ticks import Tick
from schemas.units import US_PER_MS, US_PER_S
from simulation.laws.broken import Broken
from simulation.laws.places import Place
from simulation.laws.shadow import Shadow
from simulation.policy import Ask, Denied

LAPSE_TICKS: Final = 2
TICKS_MAX: Final = 4
"""A report that was held up is one tick late, and its successor comes a tick later."""
CONTENTION: Final = frozenset(each.value for each in RefusalReason if each.is_contention)
TRANSIT_US: Final = 2 * US_PER_S
"""A report that was received was sent no longer ago than this before."""
NEW_US: Final = 4 * US_PER_S
"""A new owner takes everybody for heard just now; by then he has heard them."""
REPORTS_MAX: Final = 64
"""Reports remembered of each incarnation: the newest."""


@dataclass(slots=True)
class Demand:
    """What was refused and may come back, and the low points of demand."""

    pool: Pool
    refused: dict[str, dict[str, tuple[int, int, int]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """By entitlement and request: slots, door, until when."""
    lows: dict[str, deque[tuple[int, int]]] = field(default_factory=lambda: defaultdict(deque))
    """By entitlement: (time, demand) whenever it changed, and at every tick."""
    returned: dict[str, dict[int, dict[str, int]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """By incarnation, sequence of its report and entitlement: slots that came back there."""
    short: dict[str, int] = field(default_factory=dict)
    epoch: int = 0
    began_us: int = 0

    def denied(self, ask: Ask, answer: Denied, *, door: int, now_us: int) -> None:
        """Count a refusal until its Retry-After has passed plus two ticks."""
        refused = self.refused[ask.entitlement]
        if answer.reason in CONTENTION:
            lapse_us = answer.retry_after_us + LAPSE_TICKS * self.pool.policy.tick_ms * US_PER_MS
            refused[ask.request_id] = (ask.n, door, now_us + lapse_us)
        else:
            refused.pop(ask.request_id, None)

    def granted(self, ask: Ask) -> None:
        """It is held now."""
        self.refused[ask.entitlement].pop(ask.request_id, None)

    def lost(self, door: int) -> None:
        """The incarnation that remembered it has ended."""
        for refused in self.refused.values():
            for key in [key for key, (_, where, _) in refused.items() if where == door]:
                del refused[key]

    def reported(self, desk: PoolDesk) -> None:
        """Notice what a report has just said to have come back from other admitters."""
        reports = self.returned[desk.incarnation]
        if desk.sequence in reports:
            return
        reports[desk.sequence] = {
            uid: account.withdrawn.total.slots
            for uid, account in desk.accounts.items()
            if account.withdrawn.entries
        }
        if len(reports) > REPORTS_MAX:
            del reports[next(iter(reports))]

    def note(self, uid: str, shadow: Shadow, *, doors: int, now_us: int) -> None:
        """Note the demand that there is now."""
        refused = self.refused[uid]
        for key in [key for key, (_, _, until_us) in refused.items() if until_us <= now_us]:
            del refused[key]
        held = sum(shadow.by_place[door, uid].slots for door in range(doors))
        demand = held + sum(slots for slots, _, _ in refused.values())
        lows = self.lows[uid]
        while lows and lows[-1][1] >= demand:
            lows.pop()
        lows.append((now_us, demand))

    def tick(
        self, tick: Tick, places: Sequence[Place], shadow: Shadow, *, now_us: int
    ) -> Iterator[Broken]:
        """Yield entitlements of whose steady demand a tick knows too little.

        ``places`` are the admitters that can report now.
        """
        if tick.version.epoch != self.epoch:
            self.epoch, self.began_us = tick.version.epoch, now_us
        ages_us = {
            item.incarnation: item.age_ms * US_PER_MS for item in tick.inputs.reports if item.alive
        }
        recent = 2 * self.pool.policy.tick_ms * US_PER_MS + US_PER_S
        is_new = now_us - self.began_us < NEW_US
        unheard = not {place.freshness.incarnation for place in places} <= ages_us.keys()
        if is_new or unheard or max(ages_us.values(), default=recent + 1) > recent:
            self.short.clear()
            return
        since_us = now_us - max(ages_us.values()) - TRANSIT_US
        doors = {place.index for place in places}
        returned = [
            self._returned(item.incarnation, item.sequence)
            for item in tick.inputs.reports
            if item.alive
        ]
        for item in tick.inputs.entitlements:
            uid = item.entitlement
            refused_at = {door for _, door, _ in self.refused[uid].values()}
            held_at = {
                door
                for (door, whose), held in shadow.by_place.items()
                if whose == uid and held.slots
            }
            if refused_at | held_at <= doors:
                back = sum(each.get(uid, 0) for each in returned)
                yield from self._judge(uid, item.demand.slots, back, since_us=since_us)
            else:
                self.short[uid] = 0

    def _returned(self, incarnation: str, sequence: int) -> dict[str, int]:
        """Return what a report said to have come back; of two at one instant, the later one."""
        reports = self.returned[incarnation]
        return next((back for number, back in reports.items() if number >= sequence), {})

    def _judge(self, uid: str, seen: int, back: int, *, since_us: int) -> Iterator[Broken]:
        lows = self.lows[uid]
        while len(lows) > 1 and lows[1][0] <= since_us:
            lows.popleft()
        least = lows[0][1] if lows else 0
        self.short[uid] = self.short.get(uid, 0) + 1 if seen + back < least else 0
        if self.short[uid] > TICKS_MAX:
            text = (
                f"the allocator sees {seen} slots of {uid} wanted for {self.short[uid]} ticks, "
                f"{least} are held or were refused all that time, and {back} of them came back "
                f"at another admitter"
            )
            yield Broken(6, "demand unseen", text)
