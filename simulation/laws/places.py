"""Places: what the judge has seen of each door: its incarnation, its lease, its buckets' depths."""

from __future__ import annotations

from dataclasses import dataclass, field

from admission.core.gate import Gate
from admission.core.pool import PoolDesk
from schemas.positions import NO_VERSION, Version
from schemas.units import Held
from simulation.laws.staleness import Freshness


@dataclass(slots=True)
class Place:
    """One door and its present incarnation."""

    index: int
    gate: Gate | None = None
    """None: down."""
    desk: PoolDesk | None = None
    freshness: Freshness = field(default_factory=lambda: Freshness(""))
    adopted: dict[tuple[str, str], Held] = field(default_factory=dict)
    version: Version = NO_VERSION
    sequence: int = -1
    _outlook: object = None
    _depth_tokens: int = 0

    def turns_to(self, gate: Gate | None, pool: str) -> None:
        """Look at another incarnation from now on."""
        self.gate = gate
        self.desk = None if gate is None else gate.desks[pool]
        self.freshness = Freshness("" if gate is None else gate.incarnation)
        self.adopted = {}
        self.version, self.sequence = NO_VERSION, -1
        self._outlook, self._depth_tokens = None, 0

    def look(self, now_us: int) -> bool:
        """Notice a report sent or a state followed; say whether the state is another one."""
        desk = self.desk
        if desk is None or (desk.version is self.version and desk.sequence == self.sequence):
            return False
        follows = desk.version != self.version
        self.version, self.sequence = desk.version, desk.sequence
        self.freshness.look(desk, now_us=now_us)
        return follows

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
