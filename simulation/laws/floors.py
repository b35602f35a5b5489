"""Law 3: a dedicated or guaranteed request inside its own floor is never refused for contention.

Inside: with it, the entitlement holds no more slots and KV cache than its floor, over all admitters
and graves, and no token that its share was charged here is left undrained at the rate of the floor.
Its admitter may lack a part of the floor: then the reason is ``share_exhausted``, the home is named
unless this is the home, and the part is really used up.  The floor is the smallest of the spec's,
the newest tick's and the one in the state that the admitter follows, since a floor may be scaled;
what was charged drains at the floor of its time.

Left out: a share that is raised arrives with a full bucket, so what it grew by counts as charged;
what it was overdrawn by while it was smaller comes with it, since it has drained at its own rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from admission.core.pool import PoolDesk
from admission.core.share import Room
from admission.core.staleness import Freshness
from schemas.decisions import RefusalReason
from schemas.pools import Pool
from schemas.state import EntitlementStatus
from schemas.units import US_PER_S, Dimension
from simulation.laws.broken import Broken
from simulation.laws.lines import Line, Triple, least, triple
from simulation.laws.places import Place
from simulation.laws.shadow import Shadow, Stock
from simulation.policy import Ask, Denied

_SERVED: Final = (EntitlementStatus.BOUND, EntitlementStatus.DEGRADED)


@dataclass(slots=True)
class _Meter:
    """Tokens of one entitlement that its floor has not yet drained."""

    level: int = 0
    """In millionths of a token."""
    at_us: int = 0


@dataclass(slots=True)
class Floors:
    """The floors in force, and what was charged to them."""

    pool: Pool
    floors: dict[str, Triple] = field(default_factory=dict)
    followed: dict[int, Mapping[str, Room]] = field(default_factory=dict)
    """Rooms in the state that each door follows."""
    meters: dict[tuple[int, str], _Meter] = field(default_factory=dict)
    """By door and entitlement."""

    def tick(self, lines: list[Line], *, now_us: int) -> None:
        """Learn the floors of a tick."""
        self._drain(self.meters, now_us)
        self.floors = {line.uid: line.floor for line in lines}

    def follow(self, door: int, rooms: Mapping[str, Room], *, now_us: int) -> None:
        """Learn what an admitter follows, if it is another state than before."""
        if self.followed.get(door) is not rooms:
            self._drain([key for key in self.meters if key[0] == door], now_us)
            self.followed[door] = rooms

    def turned(self, door: int) -> None:
        """Forget what an incarnation was charged: its buckets went with it."""
        self.followed.pop(door, None)
        for key in [key for key in self.meters if key[0] == door]:
            del self.meters[key]

    def charge(self, door: int, uid: str, tokens: int, *, now_us: int) -> None:
        """Charge an estimate, or correct it (never below nothing)."""
        meter = self._drained(door, uid, now_us)
        meter.level = max(0, meter.level + tokens * US_PER_S)

    def raised(self, door: int, uid: str, growth: int, *, level: int, now_us: int) -> None:
        """Charge what a share grew by; its bucket lawfully stands at ``level`` now."""
        self.charge(door, uid, growth * self.pool.bucket_s, now_us=now_us)
        meter = self.meters[door, uid]
        meter.level = max(meter.level, level)

    def denied(
        self, ask: Ask, answer: Denied, place: Place, shadow: Shadow, *, now_us: int
    ) -> Iterator[Broken]:
        """Yield a refusal that the floor forbids."""
        desk, door = place.desk, place.index
        spec = self.pool.entitlements[ask.entitlement]
        if desk is None or not spec.service_class.is_reserved:
            return
        need = needed(ask, self.pool)
        floor = self._floor(ask.entitlement, desk)
        level = self._drained(door, ask.entitlement, now_us).level
        if level > 0 or not _is_inside(need, floor, shadow.by_entitlement[ask.entitlement]):
            return
        here = shadow.by_place[door, ask.entitlement]
        held = (0, here.kv_bytes, here.slots)
        words = self._unlawful(answer, place, desk, need, ask, held=held)
        if words:
            text = (
                f"{ask.entitlement} was refused as {answer.reason} {answer.dimension} at admitter "
                f"{door} inside its floor {floor}, needing {need}: {words}"
            )
            yield Broken(3, "refused inside its floor", text)

    def _unlawful(
        self,
        answer: Denied,
        place: Place,
        desk: PoolDesk,
        need: Triple,
        ask: Ask,
        *,
        held: Triple,
    ) -> str:
        """Return why the refusal is not lawful; "" when it is."""
        if answer.reason == RefusalReason.STATE_STALE:
            return "reserved classes never stop"
        if answer.reason == RefusalReason.NOT_BOUND and self._is_served(ask.entitlement, desk):
            return "it is bound"
        if answer.reason in (RefusalReason.CONTENDED, RefusalReason.LIMIT_REACHED):
            return "contention"
        if answer.reason != RefusalReason.SHARE_EXHAUSTED:
            return ""
        if answer.home is None and not desk.outlook.rooms[ask.entitlement].at_home:
            return "the home is not named"
        usable = place.parts.share(ask.entitlement)
        fits = {
            Dimension.CONCURRENCY: held[2] + need[2] <= usable[2],
            Dimension.KV_CACHE: held[1] + need[1] <= usable[1],
        }
        if desk.freshness is Freshness.FRESH and fits.get(Dimension(answer.dimension), False):
            return f"its share {usable} here has room, {held} are held"
        return ""

    def _floor(self, uid: str, desk: PoolDesk) -> Triple:
        floor = least(triple(self.pool.entitlements[uid].floor), self.floors.get(uid, (0, 0, 0)))
        room = desk.outlook.rooms.get(uid)
        return floor if room is None else least(floor, triple(room.floor))

    def _is_served(self, uid: str, desk: PoolDesk) -> bool:
        states = () if desk.state is None else desk.state.entitlements
        return any(item.entitlement == uid and item.status in _SERVED for item in states)

    def _drained(self, door: int, uid: str, now_us: int) -> _Meter:
        meter = self.meters.setdefault((door, uid), _Meter())
        meter.level = max(0, meter.level - self._rate(door, uid) * (now_us - meter.at_us))
        meter.at_us = now_us
        return meter

    def _drain(self, keys: Iterable[tuple[int, str]], now_us: int) -> None:
        for door, uid in keys:
            self._drained(door, uid, now_us)

    def _rate(self, door: int, uid: str) -> int:
        """Return the tokens/s of the floor that the tick gives and the admitter knows of."""
        room = self.followed.get(door, {}).get(uid)
        known = 0 if room is None else room.floor.tokens_per_s
        return min(self.floors.get(uid, (0, 0, 0))[0], known)


def _is_inside(need: Triple, floor: Triple, held: Stock) -> bool:
    return floor[0] > 0 and held.slots + need[2] <= floor[2] and held.kv_bytes + need[1] <= floor[1]


def needed(ask: Ask, pool: Pool) -> Triple:
    """Return what a request reserves in KV cache (the worst case) and slots."""
    tokens = ask.input_tokens + ask.n * ask.max_tokens
    return 0, tokens * pool.kv_bytes_per_token, ask.n
