"""Reservations: which are open, and how did the others end?

Every reservation ends in exactly one of settled, released and expired (law 7).  ``end`` answers
only the first time, so whoever frees amounts on its answer frees them once.  Ended ids are
remembered, oldest forgotten first, to answer a repeated call as the first one was answered.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from msgspec import Struct

from schemas.specs import ServiceClass
from schemas.units import US_PER_MS

End = Literal["settled", "released", "expired"]
OPEN_MAX: Final = 100_000
ENDED_MAX: Final = 32_768


class Open(Struct, gc=False):
    """A reservation that holds its amounts."""

    number: int
    reservation_id: str
    pool: str
    entitlement: str
    tokens: int
    kv_bytes: int
    slots: int
    output_tokens: int
    """The part of ``tokens`` that is expected output, over all choices."""
    max_tokens: int
    served_class: ServiceClass
    demoted: bool
    in_common: bool
    """Its throughput was charged to the common share."""
    started_us: int
    expires_us: int
    ttl_ms: int
    renew_ms: int
    request_id: str = ""
    shadow_refusal: str = ""
    adopted: bool = False
    """Taken over from a dead admitter: what it charged there is not refunded here."""
    produced_tokens: int = 0
    renewed_us: int = 0
    """When it began or was renewed last."""
    evict_reason: str = ""
    """Why it has to make room (``EvictionReason``); it is told so at its next renewal."""
    told: bool = False
    """It was told (in shadow mode: would have been)."""
    evict_us: int | None = None
    """Told to stop by then."""

    @property
    def past_estimate_tokens(self) -> int:
        """How much it has produced beyond what was expected."""
        return max(0, self.produced_tokens - self.output_tokens)


class Ended(Struct, gc=False):
    """How a reservation ended, and what is needed to charge it late."""

    how: End
    item: Open
    charged_tokens: int = 0
    late: bool = False
    """Usage arrived after it had expired, and was charged."""


@dataclass(slots=True)
class Reservations:
    """The table of one incarnation."""

    open_max: int = OPEN_MAX
    ended_max: int = ENDED_MAX
    _open: dict[int, Open] = field(default_factory=dict)
    _by_request: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _expiries: list[tuple[int, int]] = field(default_factory=list)
    _ended: OrderedDict[int, Ended] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Open]:
        return iter(self._open.values())

    @property
    def is_full(self) -> bool:
        """Whether the table's bound is reached."""
        return len(self._open) >= self.open_max

    def add(self, item: Open) -> None:
        """Open a reservation; its number was never used before."""
        assert item.number not in self._open
        assert item.number not in self._ended
        self._open[item.number] = item
        if item.request_id:
            self._by_request[_request_key(item)] = item.number
        heapq.heappush(self._expiries, (item.expires_us, item.number))

    def get(self, number: int) -> Open | None:
        """Return an open reservation."""
        return self._open.get(number)

    def ended(self, number: int) -> Ended | None:
        """Return how a reservation ended, while that is remembered."""
        return self._ended.get(number)

    def of_request(self, pool: str, entitlement: str, request_id: str) -> Open | None:
        """Return the open reservation of a request (idempotency)."""
        number = self._by_request.get((pool, entitlement, request_id))
        return None if number is None else self._open.get(number)

    def renew(self, item: Open, *, now_us: int) -> None:
        """Extend its life by one TTL from now, unless it was told to stop by then."""
        expires_us = now_us + item.ttl_ms * US_PER_MS
        item.renewed_us = now_us
        item.expires_us = expires_us if item.evict_us is None else item.evict_us
        heapq.heappush(self._expiries, (item.expires_us, item.number))
        if len(self._expiries) > 4 * len(self._open) + 64:
            self._expiries = sorted((item.expires_us, item.number) for item in self._open.values())

    def end(self, number: int, how: End) -> Ended | None:
        """End an open reservation; None when it is not open (any more)."""
        item = self._open.pop(number, None)
        if item is None:
            return None
        key = _request_key(item)
        if self._by_request.get(key) == number:
            del self._by_request[key]
        return self.remember(item, how)

    def remember(self, item: Open, how: End) -> Ended:
        """Remember how a reservation ended that is not open (any more)."""
        ended = Ended(how, item)
        self._ended[item.number] = ended
        if len(self._ended) > self.ended_max:
            self._ended.popitem(last=False)
        return ended

    def due(self, now_us: int) -> list[Open]:
        """Return the open reservations whose time has run out, earliest first."""
        due: list[Open] = []
        while self._expiries and self._expiries[0][0] <= now_us:
            expires_us, number = heapq.heappop(self._expiries)
            item = self._open.get(number)
            if item is not None and item.expires_us == expires_us:
                due.append(item)
        return due

    def last_expiry_us(self, pool: str) -> int:
        """Return when the pool's last open reservation expires; 0 when none is open."""
        expiries = (item.expires_us for item in self._open.values() if item.pool == pool)
        return max(expiries, default=0)


def _request_key(item: Open) -> tuple[str, str, str]:
    return item.pool, item.entitlement, item.request_id
