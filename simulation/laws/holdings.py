"""Law 2 on what is held: slots and KV cache never exceed capacity plus the exported bound.

Held is what gateways were let start and what has neither ended nor run out, over all admitters, the
reservations of killed incarnations included (``simulation.laws.shadow``).  The bound in force is
the one of the newest tick by version: it is exported at every tick, and says how far the states
that anybody may still follow reach.  A bound of an older tick would forgive what is over.

Shares are judged where they are followed, too: over all admitters an entitlement's shares stay
within its limit, and granted parts with common parts within capacity.  Cuts are not conditional,
so limit and capacity are the largest of the states between the oldest one that somebody follows
(less one lease, for what a new owner repeats) and the newest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from admission.core.pool import PoolDesk
from admission.core.staleness import Freshness
from schemas.pools import Pool
from schemas.positions import NO_VERSION, Version
from schemas.state import AdmissionState
from schemas.ticks import Tick
from schemas.units import US_PER_MS
from simulation.laws.broken import Broken
from simulation.laws.lines import TRIPLE_NAMES, Triple, most, plus, total, triple
from simulation.laws.shadow import Stock

STATES_MAX: Final = 512
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


@dataclass(frozen=True, slots=True)
class _Published:
    """What one state allows in all."""

    version: Version
    at_us: int
    capacity: Triple
    limits: dict[str, Triple]


@dataclass(slots=True)
class Followed:
    """States published lately, and the shares that admitters follow of them."""

    pool: Pool
    states: deque[_Published] = field(default_factory=lambda: deque(maxlen=STATES_MAX))
    """In order of version."""

    def published(self, parts: Sequence[AdmissionState], *, now_us: int) -> None:
        """Learn a state; a former owner's comes in its place by version."""
        if not parts:
            return
        state = _Published(
            version=parts[0].version,
            at_us=now_us,
            capacity=triple(parts[0].capacity),
            limits={
                item.entitlement: most(triple(item.floor), triple(item.grant))
                for part in parts
                for item in part.entitlements
            },
        )
        self.states.append(state)
        if len(self.states) > 1 and self.states[-2].version > state.version:
            ordered = sorted(self.states, key=lambda item: item.version)
            self.states = deque(ordered, maxlen=STATES_MAX)

    def check(self, desks: Sequence[PoolDesk]) -> Iterator[Broken]:
        """Yield shares that are followed twice; ``desks`` are alive and not leaving."""
        following = [desk for desk in desks if desk.freshness in (Freshness.FRESH, Freshness.HOLD)]
        known = [desk.version for desk in following if desk.version > NO_VERSION]
        if not known or not self.states:
            return
        states = self._since(min(known))
        for uid in self.pool.entitlements:
            limit = _largest([state.limits.get(uid, _NOTHING) for state in states])
            usable = total(
                [
                    triple(desk.outlook.rooms[uid].usable)
                    for desk in following
                    if uid in desk.outlook.rooms
                ]
            )
            for amount, top, unit in zip(usable, limit, TRIPLE_NAMES, strict=True):
                if amount > top:
                    text = f"shares of {uid} that are followed sum to {amount} {unit} of {top}"
                    yield Broken(2, "shares followed", text)
        yield from self._pool(following, _largest([state.capacity for state in states]))

    def _pool(self, following: Sequence[PoolDesk], capacity: Triple) -> Iterator[Broken]:
        granted = _NOTHING
        for desk in following:
            if desk.state is None or desk.freshness is not Freshness.FRESH:
                continue
            granted = plus(granted, triple(desk.outlook.common))
            for item in desk.state.entitlements:
                for share in item.shares:
                    if share.admitter == desk.incarnation:
                        granted = plus(granted, triple(share.grant))
        for amount, top, unit in zip(granted, capacity, TRIPLE_NAMES, strict=True):
            if amount > top:
                text = f"grants and common parts that are followed sum to {amount} {unit} of {top}"
                yield Broken(2, "grants followed", text)

    def _since(self, oldest: Version) -> list[_Published]:
        """Return the states from the one followed, or one lease before it, to the newest."""
        lease_us = self.pool.leases.lease_ms * US_PER_MS
        began_us = min((state.at_us for state in self.states if state.version >= oldest), default=0)
        return [
            state
            for state in self.states
            if state.version >= oldest or state.at_us >= began_us - lease_us
        ]


def _largest(amounts: Sequence[Triple]) -> Triple:
    result = _NOTHING
    for amount in amounts:
        result = most(result, amount)
    return result
