"""Judged: through which offset is each partition judged, in the order of the topic ``verdicts``?

What is published of a position before a mark judges past it binds; what comes after that is a
repeat, or of an owner that was replaced and did not know it yet.  Such a verdict is void: ledger,
``verify`` and history all leave it out by this rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from schemas.verdicts import JudgedThrough, VerdictsMessage
from streams.history.usage_rows import VerdictRow

Key = tuple[int, int]
"""Log epoch, partition."""


class Judged:
    """The highest mark of each partition so far."""

    def __init__(self, through: Mapping[Key, int] | None = None) -> None:
        self._through = dict(through or {})

    def holds(self, message: VerdictsMessage) -> bool:
        """Take the next message of its partition; say whether it holds."""
        if isinstance(message, JudgedThrough):
            self.judge((message.epoch, message.partition), message.offset)
            return True
        position = message.position
        return position.offset > self._through.get((position.epoch, position.partition), -1)

    def judge(self, key: Key, offset: int) -> None:
        """Take a mark."""
        self._through[key] = max(offset, self._through.get(key, -1))

    def merge(self, other: Judged) -> None:
        """Take the marks of what was read next."""
        for key, offset in other._through.items():
            self.judge(key, offset)

    def held(self, rows: Iterable[VerdictRow]) -> list[VerdictRow]:
        """Return the rows of verdicts that hold."""
        return [
            row
            for row in rows
            if row.record_offset > self._through.get((row.epoch, row.partition), -1)
        ]
