"""Graves: what incarnations that have ended without ending their reservations may still run.

The requests of a killed admitter run on at the engine until their gateway ends them, another
admitter adopts them, or their time runs out and the gateway has to stop them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from admission.core.reservations import Open
from schemas.specs import ServiceClass
from schemas.units import NOTHING_HELD, Held

GraveKey = tuple[str, int]
"""Incarnation, number of the reservation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grave:
    """One reservation that nobody answers for."""

    incarnation: str
    number: int
    door: int
    entitlement: str
    served_class: ServiceClass
    demoted: bool
    held: Held
    until_us: int
    """World time at which its gateway must have stopped it."""


@dataclass(slots=True)
class Graves:
    """All of them."""

    _graves: dict[GraveKey, Grave] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._graves)

    def __iter__(self) -> Iterator[Grave]:
        return iter(self._graves.values())

    def dig(self, item: Open, *, incarnation: str, door: int, until_us: int) -> None:
        """Keep a reservation of an incarnation that has just ended."""
        self._graves[incarnation, item.number] = Grave(
            incarnation=incarnation,
            number=item.number,
            door=door,
            entitlement=item.entitlement,
            served_class=item.served_class,
            demoted=item.demoted,
            held=Held(item.tokens, item.kv_bytes, item.slots),
            until_us=until_us,
        )

    def close(self, key: GraveKey) -> Grave | None:
        """Forget one that was adopted, or whose request has ended."""
        return self._graves.pop(key, None)

    def prune(self, now_us: int) -> None:
        """Forget those whose time has run out."""
        for key in [key for key, each in self._graves.items() if each.until_us <= now_us]:
            del self._graves[key]

    def held(self, entitlement: str | None = None, *, now_us: int) -> Held:
        """Return what may still run of one entitlement, or of all."""
        total = NOTHING_HELD
        for each in self._graves.values():
            if each.until_us > now_us and entitlement in (None, each.entitlement):
                total += each.held
        return total
