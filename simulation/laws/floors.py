"""Law 3: a dedicated or guaranteed request inside its own floor is never refused for contention.

Inside: with it, the entitlement holds no more slots and KV cache than its floor, over all admitters
and graves, and no token that it was charged is left undrained at the rate of the floor; a share
that was raised arrives with a full bucket, so a whole one is charged for it.  Its admitter may lack
a part of the floor: then the reason is ``share_exhausted``, the home is named unless this is the
home, and the part is really used up.  The floor is the smallest of the spec's, the newest tick's
and the one in the state that the admitter follows, since a floor may be scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from admission.core.pool import PoolDesk
from admission.core.staleness import Freshness
from schemas.decisions import RefusalReason
from schemas.pools import Pool
from schemas.state import EntitlementStatus
from schemas.units import US_PER_S, Dimension
from simulation.laws.broken import Broken
from simulation.laws.lines import Line, Triple, least, triple
from simulation.laws.places import Place
from simulation.laws.shadow import Shadow
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
    meters: dict[str, _Meter] = field(default_factory=dict)

    def tick(self, lines: list[Line], *, now_us: int) -> None:
        """Learn the floors of a tick; what was charged before has drained at the former ones."""
        for uid in self.meters:
            self._drained(uid, now_us)
        self.floors = {line.uid: line.floor for line in lines}

    def charge(self, uid: str, tokens: int, *, now_us: int) -> None:
        """Charge an estimate, or correct it (never below nothing)."""
        meter = self._drained(uid, now_us)
        meter.level = max(0, meter.level + tokens * US_PER_S)

    def raised(self, uid: str, *, now_us: int) -> None:
        """A share arrives with a full bucket: its floor has to drain that first."""
        spec = self.pool.entitlements.get(uid)
        if spec is not None and spec.service_class.is_reserved:
            full = spec.floor.tokens_per_s * self.pool.bucket_s
            self.charge(uid, full, now_us=now_us)

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
        if not self._is_inside(ask.entitlement, need, floor, shadow, now_us=now_us):
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

    def _is_inside(
        self, uid: str, need: Triple, floor: Triple, shadow: Shadow, *, now_us: int
    ) -> bool:
        held = shadow.by_entitlement[uid]
        return (
            held.slots + need[2] <= floor[2]
            and held.kv_bytes + need[1] <= floor[1]
            and floor[0] > 0
            and self._drained(uid, now_us).level == 0
        )

    def _floor(self, uid: str, desk: PoolDesk) -> Triple:
        floor = least(triple(self.pool.entitlements[uid].floor), self.floors.get(uid, (0, 0, 0)))
        room = desk.outlook.rooms.get(uid)
        return floor if room is None else least(floor, triple(room.floor))

    def _is_served(self, uid: str, desk: PoolDesk) -> bool:
        states = () if desk.state is None else desk.state.entitlements
        return any(item.entitlement == uid and item.status in _SERVED for item in states)

    def _drained(self, uid: str, now_us: int) -> _Meter:
        meter = self.meters.setdefault(uid, _Meter())
        rate = self.floors.get(uid, (0, 0, 0))[0]
        meter.level = max(0, meter.level - rate * (now_us - meter.at_us))
        meter.at_us = now_us
        return meter


def needed(ask: Ask, pool: Pool) -> Triple:
    """Return what a request reserves in KV cache (the worst case) and slots."""
    tokens = ask.input_tokens + ask.n * ask.max_tokens
    return 0, tokens * pool.kv_bytes_per_token, ask.n
