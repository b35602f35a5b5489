"""Payout: how many tokens did each entitlement get in this tick, when increments are 5 s long?

An increment is folded in one instant but was produced over seconds.  It is paid out evenly over
its production time, counted from its fold, so that ticks of 1 s see a rate and no steps.  Integers
only, and exact: whatever is added is paid out once, to the token.

What is open of an increment is (tokens left, end), and two with the same end are one: ends are
rounded up to a grain of at most 1/16 of the duration, which bounds what is kept per entitlement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

GRAIN_US: Final = 100_000
"""The finest grain of an end."""
DURATION_US_MAX: Final = 600_000_000
"""A longer production time is paid out as if it were this long."""
OPEN_PER_ENTITLEMENT_MAX: Final = 512
"""Ends that can be open at once: at most 32 per power of two between the grain and the longest."""


@dataclass
class Payout:
    """Tokens that were folded in and not yet paid out."""

    _open: dict[str, dict[int, int]] = field(default_factory=dict)
    """Tokens left by end, all due evenly from ``_paid_until_us`` on."""
    _fresh: dict[tuple[str, int, int], int] = field(default_factory=dict)
    """Tokens by (entitlement, start, end) that began since the last ``take``."""
    _paid_until_us: int = 0

    @property
    def owed_tokens(self) -> int:
        """Everything added and not yet taken."""
        left = sum(sum(ends.values()) for ends in self._open.values())
        return left + sum(self._fresh.values())

    @property
    def open_count(self) -> int:
        """How many sums are kept: at most ``OPEN_PER_ENTITLEMENT_MAX`` each, after a ``take``."""
        return sum(len(ends) for ends in self._open.values()) + len(self._fresh)

    def add(self, entitlement: str, *, cost_tokens: int, duration_us: int, now_us: int) -> None:
        """Owe an increment that was folded now; a duration of 0 or less is paid at once."""
        if cost_tokens <= 0:
            return
        start_us = max(now_us, self._paid_until_us)
        end_us = _end(start_us, min(duration_us, DURATION_US_MAX))
        key = (entitlement, start_us, end_us)
        self._fresh[key] = self._fresh.get(key, 0) + cost_tokens

    def take(self, *, since_us: int, until_us: int) -> dict[str, int]:
        """Return the tokens due in ``[since_us, until_us)`` by entitlement, and forget them.

        Ticks tile: what was due before ``since_us`` and was never taken is due now.  Fractions of
        a token stay owed, and nothing is paid twice.  A clock that stepped back (``since_us``
        before what was paid already) moves all that is owed back with it.
        """
        assert since_us <= until_us
        if since_us < self._paid_until_us:
            self._move_back(self._paid_until_us - since_us)
        paid: dict[str, int] = {}
        for entitlement, ends in list(self._open.items()):
            self._open[entitlement] = _pay(
                paid, entitlement, ends, start_us=self._paid_until_us, until_us=until_us
            )
        fresh, self._fresh = self._fresh, {}
        for (entitlement, start_us, end_us), tokens in fresh.items():
            self._begin(paid, entitlement, (start_us, end_us), tokens=tokens, until_us=until_us)
        self._open = {uid: ends for uid, ends in self._open.items() if ends}
        self._paid_until_us = until_us
        return paid

    def _move_back(self, by_us: int) -> None:
        self._open = {
            uid: {end - by_us: tokens for end, tokens in ends.items()}
            for uid, ends in self._open.items()
        }
        self._fresh = {
            (uid, start - by_us, end - by_us): tokens
            for (uid, start, end), tokens in self._fresh.items()
        }
        self._paid_until_us -= by_us

    def _begin(
        self,
        paid: dict[str, int],
        entitlement: str,
        span_us: tuple[int, int],
        *,
        tokens: int,
        until_us: int,
    ) -> None:
        start_us, end_us = span_us
        if start_us > until_us:
            self._fresh[entitlement, start_us, end_us] = tokens
            return
        left = _pay(paid, entitlement, {end_us: tokens}, start_us=start_us, until_us=until_us)
        ends = self._open.setdefault(entitlement, {})
        for end, rest in left.items():
            ends[end] = ends.get(end, 0) + rest


def _end(start_us: int, duration_us: int) -> int:
    """Return the end, rounded up to a grain of at most 1/16 of the duration (or the finest)."""
    if duration_us <= 0:
        return start_us
    grain_us = GRAIN_US
    while grain_us * 32 <= duration_us:
        grain_us *= 2
    return -(-(start_us + duration_us) // grain_us) * grain_us


def _pay(
    paid: dict[str, int], entitlement: str, ends: dict[int, int], *, start_us: int, until_us: int
) -> dict[int, int]:
    """Add what is due between start and until to ``paid`` (rounded down); return what is left."""
    left: dict[int, int] = {}
    due = 0
    for end_us, tokens in ends.items():
        now = tokens
        if end_us > until_us:
            now = tokens * (until_us - start_us) // (end_us - start_us)
            left[end_us] = tokens - now
        due += now
    if due:
        paid[entitlement] = paid.get(entitlement, 0) + due
    return left
