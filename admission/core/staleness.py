"""Staleness: how old is the state that this admitter follows, and what may it still do by it?

No clock is shared.  A state echoes the last report of ours that it has folded in, and it is as old
as that report: its age is our monotonic time since we *sent* it.  Fresh until ``lease_ms``; then
surplus classes stop and the others keep their baseline share for ``hold_s`` more; then elastic
stops too and reserved classes keep a static safe share, whose sum over ``admitters_max`` admitters
is their floor.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from schemas.specs import Leases
from schemas.units import US_PER_MS, US_PER_S, Resources

SENT_MAX: Final = 1_024
"""Reports whose sending time is remembered; an older echo renews nothing."""


class Freshness(Enum):
    """What the lease allows."""

    NONE = "none"
    """No state has echoed a report of ours: we have no share."""
    FRESH = "fresh"
    HOLD = "hold"
    STALE = "stale"


@dataclass(slots=True)
class Lease:
    """The age of one pool's state."""

    echoed_us: int | None = None
    """When the newest echoed report was sent."""
    _sent: OrderedDict[int, int] = field(default_factory=OrderedDict)

    def sent(self, sequence: int, *, now_us: int) -> None:
        """Remember when a report was sent; call it before the report leaves."""
        self._sent[sequence] = now_us
        if len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)

    def echoed(self, sequence: int) -> None:
        """Learn that a state has folded this report in; older echoes change nothing."""
        sent_us = self._sent.get(sequence)
        if sent_us is None:
            return
        self.echoed_us = max(sent_us, self.echoed_us or sent_us)
        while self._sent and next(iter(self._sent)) < sequence:
            self._sent.popitem(last=False)

    def age_us(self, now_us: int) -> int | None:
        """Return the state's age; None before the first echo."""
        return None if self.echoed_us is None else max(0, now_us - self.echoed_us)

    def freshness(self, now_us: int, *, leases: Leases) -> Freshness:
        """Return what the lease allows now."""
        if self.echoed_us is None:
            return Freshness.NONE
        age_us = now_us - self.echoed_us
        if age_us <= leases.lease_ms * US_PER_MS:
            return Freshness.FRESH
        if age_us <= leases.lease_ms * US_PER_MS + leases.hold_seconds * US_PER_S:
            return Freshness.HOLD
        return Freshness.STALE


def safe_share(floor: Resources, *, admitters_max: int, at_home: bool) -> Resources:
    """Return the part of a floor that is safe without any news (each dimension rounded down).

    Everyone keeps floor / ``admitters_max``; the home that was named last keeps what is left
    when all the others do.  While at most ``admitters_max`` live, the parts sum to the floor.
    """
    part = floor.split(admitters_max)
    return floor - part.times(admitters_max - 1) if at_home else part
