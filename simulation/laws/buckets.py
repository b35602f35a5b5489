"""Law 2 on buckets: tokens drain at the rate of the share that is followed, and at no other.

The judge keeps a bucket of his own for each of an admitter's: it drains by the share in force,
takes the same charges and, when the share changes, keeps free what was free: a raised share arrives
full, so that moving a share about creates no burst.  After every charge an admitter's must stand
no lower than the judge's; it may stand higher, since a share that went and came back within one
step took its free tokens with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from admission.core.bucket import Bucket
from admission.core.pool import PoolDesk
from schemas.units import US_PER_S
from simulation.laws.broken import Broken

COMMON: Final = "$common"
SLACK_UTOK: Final = 1
"""A share of nothing that is raised arrives with a millionth of a token free."""


@dataclass(slots=True)
class _Level:
    rate: int
    depth: int
    """In millionths of a token, like the level."""
    level: int
    at_us: int

    def drain(self, now_us: int) -> None:
        if now_us > self.at_us:
            self.level = max(0, self.level - self.rate * (now_us - self.at_us))
            self.at_us = now_us

    def follow(self, rate: int, depth: int, now_us: int) -> None:
        self.drain(now_us)
        free = min(self.depth - self.level, depth)
        self.rate, self.depth, self.level = rate, depth, depth - free


@dataclass(slots=True)
class Buckets:
    """Those of one incarnation; times are its own clock's."""

    levels: dict[str, _Level] = field(default_factory=dict)
    outlook: object = None

    def follow(self, desk: PoolDesk, *, now_us: int) -> None:
        """Follow the shares in force, if they are others than before."""
        if desk.outlook is self.outlook:
            return
        self.outlook = desk.outlook
        rates = {uid: room.usable.tokens_per_s for uid, room in desk.outlook.rooms.items()}
        rates[COMMON] = desk.outlook.common.tokens_per_s
        for name, rate in rates.items():
            depth = rate * desk.spec.bucket_s * US_PER_S
            if name in self.levels:
                self.levels[name].follow(rate, depth, now_us)
            else:
                known = _bucket(desk, name)
                self.levels[name] = _Level(rate, depth, known.level_utok, known.at_us)

    def charge(self, desk: PoolDesk, name: str, tokens: int, *, now_us: int) -> Iterator[Broken]:
        """Charge tokens (or take some back), and yield a bucket that has charged otherwise."""
        mine = self.levels.get(name)
        if mine is None:
            return
        mine.drain(now_us)
        mine.level = max(0, mine.level + tokens * US_PER_S)
        theirs = _bucket(desk, name)
        if theirs.at_us != mine.at_us:
            return  # nothing was charged there
        differs = mine.level - theirs.level_utok
        mine.level = theirs.level_utok
        if differs > SLACK_UTOK:
            text = (
                f"the bucket of {name} at {desk.incarnation} stands at {theirs.level_utok} "
                f"millionths of a token after a charge of {tokens} tokens, {differs} below what "
                f"it should"
            )
            yield Broken(2, "bucket", text)


def _bucket(desk: PoolDesk, name: str) -> Bucket:
    return desk.common if name == COMMON else desk.accounts[name].share
