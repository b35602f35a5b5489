"""Fleet: a pool's replicas between a scale decision and the moment they serve.

Pure: plain data and times as arguments (microseconds).  Draining is the engine's business: a
replica that drains serves nobody new and is in neither number here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Replicas that serve, and when each of the others will."""

    ready: int
    starting_us: tuple[int, ...] = ()
    """When each starting replica is ready, soonest first."""

    @property
    def starting(self) -> int:
        """Replicas that do not serve yet."""
        return len(self.starting_us)


def obey(fleet: Fleet, desired: int, *, now_us: int, start_delay_us: int) -> Fleet:
    """Return the fleet after a decision; too many: those that still start go first."""
    missing = desired - fleet.ready - fleet.starting
    if missing >= 0:
        starting_us = fleet.starting_us + (now_us + start_delay_us,) * missing
        return replace(fleet, starting_us=starting_us)
    kept = max(0, desired - fleet.ready)
    return Fleet(ready=min(fleet.ready, desired), starting_us=fleet.starting_us[:kept])


def matured(fleet: Fleet, *, now_us: int) -> Fleet:
    """Return the fleet with every replica ready whose time has come."""
    still = tuple(at_us for at_us in fleet.starting_us if at_us > now_us)
    return Fleet(ready=fleet.ready + fleet.starting - len(still), starting_us=still)
