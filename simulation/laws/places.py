"""Places: what the judge has seen of each door: incarnation, state followed, lease, buckets.

What an admitter may use is read from the state that it follows, not from its own account of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from admission.core.gate import Gate
from admission.core.pool import PoolDesk
from schemas.positions import NO_VERSION, Version
from schemas.units import Held
from simulation.laws.broken import Broken
from simulation.laws.buckets import Buckets
from simulation.laws.lines import Triple, most, triple
from simulation.laws.staleness import Freshness
from simulation.pools.clocks import Clock

_NOTHING: Triple = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a state gives one admitter."""

    shares: dict[str, Triple] = field(default_factory=dict)
    """The larger of its parts of floor and grant, by entitlement."""
    parts: dict[str, tuple[Triple, Triple]] = field(default_factory=dict)
    """Its parts of floor and grant, by entitlement."""
    common: Triple = _NOTHING
    live: int = 1
    """Admitters that live, as the state says."""
    rank: int = 0
    """Its own place among them, by name."""

    def headroom(self, slots: int) -> int:
        """Return its part of the pool's headroom: even, the first ones a slot more."""
        return slots // self.live + (self.rank < slots % self.live)

    def share(self, uid: str) -> Triple:
        """Return its share of an entitlement."""
        return self.shares.get(uid, _NOTHING)


def parts_of(desk: PoolDesk) -> Parts:
    """Return what the state that is followed gives this admitter."""
    state = desk.state
    if state is None:
        return Parts()
    view = desk.view(desk.incarnation)
    live = sorted(each.incarnation for each in state.admitters if each.alive)
    return Parts(
        parts={
            item.entitlement: (triple(share.floor), triple(share.grant))
            for item in state.entitlements
            for share in item.shares
            if share.admitter == desk.incarnation
        },
        shares={
            item.entitlement: most(triple(share.floor), triple(share.grant))
            for item in state.entitlements
            for share in item.shares
            if share.admitter == desk.incarnation
        },
        common=_NOTHING if view is None else triple(view.common),
        live=max(1, len(live)),
        rank=live.index(desk.incarnation) if desk.incarnation in live else 0,
    )


@dataclass(slots=True)
class Place:
    """One door and its present incarnation."""

    index: int
    gate: Gate | None = None
    """None: down."""
    desk: PoolDesk | None = None
    freshness: Freshness = field(default_factory=lambda: Freshness(""))
    adopted: dict[tuple[str, str], Held] = field(default_factory=dict)
    parts: Parts = field(default_factory=Parts)
    version: Version = NO_VERSION
    sequence: int = -1
    since_us: int = 0
    """When the present incarnation was first seen."""
    fell: bool = False
    """It followed a lower version than before."""
    buckets: Buckets = field(default_factory=Buckets)
    _rated: object = None
    _rates: dict[str, int] = field(default_factory=dict)
    _outlook: object = None
    _depth_tokens: int = 0

    def turns_to(self, gate: Gate | None, pool: str) -> None:
        """Look at another incarnation from now on."""
        self.gate = gate
        self.desk = None if gate is None else gate.desks[pool]
        self.freshness = Freshness("" if gate is None else gate.incarnation)
        self.adopted = {}
        self.version, self.sequence = NO_VERSION, -1
        self.parts = Parts() if self.desk is None else parts_of(self.desk)
        self.buckets = Buckets()
        self._rated, self._rates = None, {}
        self._outlook, self._depth_tokens = None, 0

    def look(self, clock: Clock, *, now_us: int) -> bool:
        """Notice a report sent or a state followed; say whether the state is another one."""
        desk = self.desk
        if desk is None or (desk.version is self.version and desk.sequence == self.sequence):
            return False
        follows = desk.version != self.version
        self.fell = self.fell or desk.version < self.version
        self.version, self.sequence = desk.version, desk.sequence
        self.freshness.look(desk, clock, now_us=now_us)
        if follows:
            self.parts = parts_of(desk)
        return follows

    def check_version(self) -> Iterator[Broken]:
        """Yield a state that was followed after a newer one."""
        if self.fell:
            self.fell = False
            text = f"admitter {self.index} follows {self.version} after a newer state"
            yield Broken(2, "older state", text)

    def raised_rates(self) -> Iterator[tuple[str, int]]:
        """Yield whose share of throughput has grown since the last time, and by how much."""
        desk = self.desk
        if desk is None or desk.outlook is self._rated:
            return
        self._rated = desk.outlook
        for uid, room in desk.outlook.rooms.items():
            rate = room.usable.tokens_per_s
            growth = rate - self._rates.get(uid, 0)
            if growth > 0:
                yield uid, growth
            self._rates[uid] = rate

    @property
    def depth_tokens(self) -> int:
        """The depths of all its buckets but the ceilings': those limit, and promise nothing."""
        desk = self.desk
        if desk is None:
            return 0
        if desk.outlook is not self._outlook:
            self._outlook = desk.outlook
            rates = desk.common.rate + sum(each.share.rate for each in desk.accounts.values())
            self._depth_tokens = rates * desk.spec.bucket_s
        return self._depth_tokens

    def adopts(self, origin: tuple[str, str], held: Held) -> None:
        """Remember what it took over."""
        self.adopted[origin] = self.adopted.get(origin, Held()) + held
