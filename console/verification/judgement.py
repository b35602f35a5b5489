"""Which events of one partition were not accepted, as the topic ``verdicts`` says in its order?

What is published before a partition is judged past its position binds; what comes later is a repeat
or of somebody who no longer owned the partition.  A position that was not accepted costs 8 bytes.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Final

from schemas.positions import Position
from schemas.verdicts import JudgedThrough, VerdictCounts, VerdictKind, VerdictsMessage

INDEX_BITS: Final = 12
"""A record holds at most 4,096 events."""


def code_of(offset: int, index: int) -> int:
    """Return one number that orders the events of a partition."""
    return offset << INDEX_BITS | index


class Judgement:
    """The verdicts of one partition from ``start`` on, which is at or past ``wanted``.

    ``whole``: the log of verdicts has every one of this epoch.  Otherwise those before the first
    mark that is read may be gone, and nothing before it can be recomputed; where ``counts`` are
    needed too, the start is a mark's, since only a mark says what was counted before.
    """

    def __init__(self, *, epoch: int, wanted: int, whole: bool, counts: bool) -> None:
        self.through = -1
        """The last offset that is judged."""
        self.start = wanted
        self.base = VerdictCounts() if whole else None
        """The counts before ``start``; None: nothing can be recomputed (yet)."""
        self.refused = array("q")
        """Codes of the events that were not accepted, ascending."""
        self.kinds: Counter[VerdictKind] = Counter()
        """Events from ``start`` through ``cut`` by verdict, accepted ones left out."""
        self._epoch = epoch
        self._counts = counts
        self._waiting: dict[int, VerdictKind] = {}
        self._cut = -1

    def count_through(self, cut: int) -> None:
        """Say through which offset ``kinds`` are counted; before the first verdict."""
        self._cut = cut

    def take(self, message: VerdictsMessage) -> None:
        """Take the next message of the partition."""
        if isinstance(message, JudgedThrough):
            if message.epoch == self._epoch:
                self._judged(message)
        elif message.position.epoch == self._epoch and message.position.offset > self.through:
            position: Position = message.position
            self._waiting.setdefault(code_of(position.offset, position.index), message.verdict)

    def _judged(self, mark: JudgedThrough) -> None:
        if self.base is None and (not self._counts or mark.offset + 1 >= self.start):
            self.start, self.base = max(self.start, mark.offset + 1), mark.counts
        if mark.offset <= self.through:
            return
        self.through = mark.offset
        end = code_of(mark.offset + 1, 0)
        for code in sorted(code for code in self._waiting if code < end):
            kind = self._waiting.pop(code)
            offset = code >> INDEX_BITS
            if offset < self.start or self.base is None or kind is VerdictKind.ACCEPTED:
                continue
            self.refused.append(code)
            self.kinds[kind] += offset <= self._cut
