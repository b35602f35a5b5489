"""No admission control: every request starts at once, and the engine's queue takes the rest.

This is the baseline of arXiv 2603.00356, section 5.2 ("everything admitted").  It has one door,
keeps nothing, never refuses and never scales.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.units import TokenCounts
from simulation.policy import Ask, Ended, Granted, Kept, Usage


class NoAdmission:
    """Admits everything."""

    name = "none"
    doors = 1

    def __init__(self, pool: Pool) -> None:
        self._classes: Mapping[str, ServiceClass] = {
            uid: each.service_class for uid, each in pool.entitlements.items()
        }

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted:
        return Granted(
            handle=ask.request_id, door=door, served_class=self._classes[ask.entitlement]
        )

    def renew(self, handle: str, *, door: int, output_tokens: int, now_us: int) -> Kept:
        return Kept(handle=handle, door=door, renew_in_us=0)

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended:
        return Ended(first=True)

    def meter(self, usage: Usage, *, now_us: int) -> None:
        """Nothing depends on usage."""

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        """Nothing depends on capacity."""

    def replicas_wanted(self, *, now_us: int) -> int | None:
        return None

    def next_event_us(self) -> int | None:
        return None

    def advance(self, *, now_us: int) -> None:
        """There is nothing to do."""
