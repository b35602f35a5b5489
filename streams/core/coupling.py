"""Coupling: how does one phase fill three dimensions together, so that none is wasted?

A request needs all three, so what an entitlement gets in one is worth no more than what it gets in
its scarcest.  ``share`` fills the dimensions in rounds, each from the most contended to the least,
cuts what the scarcest leaves unusable, and ends with a pass that uses what the last cuts freed.
Why that ends, and where, stands in ``streams.core.allocation``, the only caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from schemas.units import ceil_div
from streams.core.rounding import fill

ROUNDS_MAX: Final = 3


@dataclass
class Line:
    """One dimension of a phase, over the members that it still has something for."""

    room: int
    wants: list[int]
    """What they would use if nothing else held them back."""
    base: list[int]
    """What they have, or may take without using up room."""
    caps: list[int]
    """The most that this phase may give them."""
    weights: Callable[[], list[int]]
    asked: list[int] = field(default_factory=list)
    """Caps, lowered by every cut."""
    got: list[int] = field(default_factory=list)
    fits: bool = True
    """Whether the last fill gave everybody what it was asked for."""
    spent: int = 0
    """What the grants take of the room."""

    def fill(self, wants: list[int]) -> None:
        """Give the members what they want as far as there is room."""
        more = [
            want - base if want > base else 0 for want, base in zip(wants, self.base, strict=True)
        ]
        total = sum(more)
        self.fits = total <= self.room
        if self.fits:
            self.got, self.spent = wants, total
            return
        parts = fill(more, self.weights(), self.room)
        self.got = [
            part + (want if want < base else base)
            for want, base, part in zip(wants, self.base, parts, strict=True)
        ]
        self.spent = self.room

    def set(self, i: int, amount: int) -> None:
        """Change what one member gets."""
        base = self.base[i]
        self.spent += max(amount, base) - max(self.got[i], base)
        self.got[i] = amount


Short = dict[int, tuple[int, int]]
"""By member: (got, wanted) in its scarcest dimension, for those that did not get all."""


def share(lines: Sequence[Line], *, weights: Sequence[int]) -> None:
    """Set what each member gets in each dimension; ``weights`` say who is topped up first."""
    short = _coupled(lines)
    if not all(line.fits for line in lines):
        _top_up(lines, weights, short)


def _coupled(lines: Sequence[Line]) -> Short:
    """Fill the lines round by round, until no cut leaves room that another could use.

    Returns who did not get all it wants.
    """
    short: Short = {}
    for _ in range(ROUNDS_MAX):
        short = {}
        for line in sorted(lines, key=_contention, reverse=True):
            line.fill(_usable(line.wants, line.asked, short))
            _note(short, line)
        cut = [line for line in lines if _cut(line, short)]
        if all(line.fits for line in cut):
            break
    return short


def _contention(line: Line) -> tuple[bool, Fraction]:
    """Return how much is asked per room; the first filled is the largest, ties keep their order."""
    asked = sum(line.asked)
    return asked > 0 and line.room == 0, Fraction(asked, max(1, line.room))


def _usable(wants: Sequence[int], most: list[int], short: Short) -> list[int]:
    """Return ``most``, less for those whose scarcest dimension can use less; rounded up."""
    if not short:
        return most
    usable = list(most)
    for i, (got, of) in short.items():
        amount = -(-wants[i] * got // of)
        if amount < usable[i]:  # noqa: PLR1730 - four times as fast as min()
            usable[i] = amount
    return usable


def _note(short: Short, line: Line) -> None:
    """Keep the smaller ratio of got to wanted; a dimension nobody wants says nothing."""
    wants, got = line.wants, line.got
    if got == wants:
        return
    for i in [i for i, (part, want) in enumerate(zip(got, wants, strict=True)) if part < want]:
        before = short.get(i)
        if before is None or got[i] * before[1] < before[0] * wants[i]:
            short[i] = (got[i], wants[i])


def _cut(line: Line, short: Short) -> bool:
    """Cut the grants to what their scarcest dimension can use; say whether that changed any."""
    usable = _usable(line.wants, line.got, short)
    if usable == line.got:
        return False
    line.got = list(line.got)
    for i in short:
        if usable[i] < line.got[i]:
            line.asked[i] = usable[i]
            line.set(i, usable[i])
    return True


def _top_up(lines: Sequence[Line], weights: Sequence[int], short: Short) -> None:
    """Raise who is short, the heaviest first, as far as its scarcest dimension has room."""
    for i in sorted(_with_room(lines, short), key=lambda i: -weights[i]):
        if not _with_room(lines, (i,)):
            continue
        most = [
            min(line.caps[i], max(line.got[i], line.base[i]) + line.room - line.spent)
            for line in lines
        ]
        got, of = 1, 1
        for line, amount in zip(lines, most, strict=True):
            if amount * of < got * line.wants[i]:
                got, of = amount, line.wants[i]
        for line, amount in zip(lines, most, strict=True):
            line.set(i, max(line.got[i], min(amount, ceil_div(line.wants[i] * got, of))))


def _with_room(lines: Sequence[Line], members: Collection[int]) -> Collection[int]:
    """Return the members that every dimension which they want more of has something for."""
    for line in sorted(lines, key=lambda line: line.room - line.spent):
        got, base, wants, caps = line.got, line.base, line.wants, line.caps
        is_left = line.room > line.spent
        members = [
            i
            for i in members
            if got[i] == wants[i] or (got[i] < caps[i] and (is_left or got[i] < base[i]))
        ]
    return members


def smaller(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Return the smaller of each pair."""
    return [a if a < b else b for a, b in zip(left, right, strict=True)]
