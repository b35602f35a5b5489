"""Lines: which numbers of one gateway were accepted in one pool.

A gateway that numbers its events (``sequence``, per source and pool) costs one *line*: the next
number, and the gaps below it that were not seen yet.  In order it is one comparison; any reordering
opens gaps and closes them again.  Gaps are bounded: when there are too many the oldest is closed,
audibly, and a number below it that is not known is *late* (a dead letter), never silently dropped.

Numbers do not tell bodies apart.  The digests of the newest numbered events of a partition are kept
beside the lines, so that the same number with other bytes is a conflict and no duplicate.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.ledger import LineEntry, NumberedEntry, NumberedRun
from schemas.positions import Position
from streams.core.marks import UNKNOWN_BODY, Seen, position_of_place, unpacked

GAPS_MAX: Final = 2_048
"""Gaps of one line; beyond it the oldest is closed."""
BODIES_MAX: Final = 16_384
"""Digests of numbered bodies kept per partition, about 110 bytes each."""
BLOCK_BODIES_MIN: Final = 64
"""A block with fewer is written again with those of the next fold, under the same key."""
LINES_MAX: Final = 50_000
"""Lines of one partition, about 600 bytes each; beyond it the longest silent ones go."""
FIRST_GAPS: Final = ((0, 1),)
"""A new line: numbers begin at 1, and 0 was not seen."""

LineKey = tuple[str, str]
"""Pool, source."""

NO_BODIES: Final[Mapping[int, int]] = {}


class Line:
    """One line while a fold is under way."""

    __slots__ = (
        "bodies",
        "closed_below",
        "event_us_max",
        "first",
        "gaps",
        "key",
        "known",
        "next",
        "next_text",
        "place",
        "runs",
        "stored_us",
    )

    def __init__(
        self, key: LineKey, entry: LineEntry | None, known: Mapping[int, int] = NO_BODIES
    ) -> None:
        self.key = key
        self.known = known
        self.gaps = list(FIRST_GAPS if entry is None else entry.gaps)
        self.next = 1 if entry is None else entry.next
        self.next_text = str(self.next)
        self.closed_below = 0 if entry is None else entry.closed_below
        self.event_us_max = 0 if entry is None else entry.event_us_max
        self.stored_us = 0
        self.place = -1
        """Of its last event in this fold; -1: it had none."""
        self.first = self.next
        self.bodies = array("I")
        """Digests of the numbers from ``first`` on, all accepted in this fold."""
        self.runs: list[tuple[int, array[int]]] = []
        """Runs of this fold that ended before: first number, digests."""

    def follow(self, body: int, event_us: int, place: int, stored_us: int) -> None:
        """Accept the next number."""
        self.bodies.append(body)
        self.next = following = self.next + 1
        self.next_text = str(following)
        self.place = place
        self.stored_us = stored_us
        if event_us > self.event_us_max:
            self.event_us_max = event_us

    def touch(self, event_us: int, *, place: int, stored_us: int) -> None:
        """Note an event that was accepted out of order."""
        self.place = place
        self.stored_us = stored_us
        self.event_us_max = max(self.event_us_max, event_us)

    def seen(self, number: int) -> Seen | None:
        """Return what accepted the number; None: it is new (or ``is_closed``)."""
        body = self._body(number)
        if body != UNKNOWN_BODY:
            return Seen(body)
        if number >= self.next or self.is_closed(number) or self._gap(number) is not None:
            return None
        return Seen()

    def is_closed(self, number: int) -> bool:
        """Say whether nobody knows any more if the number was accepted."""
        return number < self.closed_below and self._body(number) == UNKNOWN_BODY

    def take(self, number: int, body: int) -> bool:
        """Accept a number that is new; say whether an old gap had to be closed."""
        if number == self.next:
            self.bodies.append(body)
            self._move(number + 1)
            return False
        self._begin_run(number, body)
        if number < self.next:
            self._fill(number)
            return False
        self.gaps.append((self.next, number))
        self._move(number + 1)
        return self._closes()

    def entry(self, *, epoch: int, partition: int) -> LineEntry:
        """Return the line as it is written."""
        pool, source = self.key
        return LineEntry(
            source=source,
            pool=pool,
            partition=partition,
            position=position_of_place(self.place, epoch, partition),
            stored_us=self.stored_us,
            event_us_max=self.event_us_max,
            next=self.next,
            gaps=tuple(self.gaps),
            closed_below=self.closed_below,
        )

    def numbered(self) -> list[NumberedRun]:
        """Return the digests of what was accepted in this fold."""
        pool, source = self.key
        runs = [*self.runs, (self.first, self.bodies)]
        return [NumberedRun(source, pool, first, run.tobytes()) for first, run in runs if run]

    def _body(self, number: int) -> int:
        if self.first <= number < self.first + len(self.bodies):
            return self.bodies[number - self.first]
        for first, bodies in self.runs:
            if first <= number < first + len(bodies):
                return bodies[number - first]
        return self.known.get(number, UNKNOWN_BODY)

    def _begin_run(self, number: int, body: int) -> None:
        """Keep a digest out of order; the run that continues at ``next`` stays apart."""
        if number > self.next:
            self.runs.append((self.first, self.bodies))
            self.first, self.bodies = number, array("I", [body])
        else:
            self.runs.append((number, array("I", [body])))

    def _move(self, number: int) -> None:
        self.next = number
        self.next_text = str(number)

    def _gap(self, number: int) -> int | None:
        """Return the index of the gap that holds the number."""
        index = bisect_right(self.gaps, (number, _ENDLESS)) - 1
        if index >= 0 and self.gaps[index][0] <= number < self.gaps[index][1]:
            return index
        return None

    def _fill(self, number: int) -> None:
        index = self._gap(number)
        assert index is not None
        start, stop = self.gaps[index]
        parts = [(start, number), (number + 1, stop)]
        self.gaps[index : index + 1] = [part for part in parts if part[0] < part[1]]

    def _closes(self) -> bool:
        if len(self.gaps) <= GAPS_MAX:
            return False
        _, self.closed_below = self.gaps.pop(0)
        return True


_ENDLESS: Final = 1 << 62


@dataclass
class Bodies:
    """Digests of the newest numbered events of one partition, oldest block first."""

    by_line: dict[LineKey, dict[int, int]] = field(default_factory=dict)
    blocks: list[NumberedEntry] = field(default_factory=list)
    """Without the digests: which numbers they hold, and under which offset they are stored."""
    count: int = 0

    def add(self, entry: NumberedEntry) -> None:
        """Remember a block; it may be the newest one with more runs."""
        runs = entry.runs
        if self.blocks and self.blocks[-1].first_offset == entry.first_offset:
            former = self.blocks.pop()
            runs = runs[len(former.runs) :]
            self.count -= _size(former)
        for run in runs:
            known = self.by_line.setdefault((run.pool, run.source), {})
            for number, body in enumerate(unpacked("I", run.bodies), run.first):
                known[number] = body
        self.blocks.append(entry)
        self.count += _size(entry)

    def to_drop(self) -> int:
        """Return how many of the oldest blocks must go for want of room."""
        kept, dropped = self.count, 0
        while kept > BODIES_MAX and dropped < len(self.blocks) - 1:
            kept -= _size(self.blocks[dropped])
            dropped += 1
        return dropped

    def drop(self, count: int) -> None:
        """Forget the ``count`` oldest blocks."""
        for entry in self.blocks[:count]:
            for run in entry.runs:
                self._forget((run.pool, run.source), run)
            self.count -= _size(entry)
        del self.blocks[:count]

    def _forget(self, key: LineKey, run: NumberedRun) -> None:
        known = self.by_line.get(key, {})
        for number in range(run.first, run.first + len(run.bodies) // 4):
            known.pop(number, None)
        if not known:
            self.by_line.pop(key, None)


def _size(entry: NumberedEntry) -> int:
    return sum(len(run.bodies) // 4 for run in entry.runs)


def bodies_of(entries: Iterable[NumberedEntry]) -> Bodies:
    """Return the digests that stored entries hold, in the order of their positions."""
    bodies = Bodies()
    for entry in sorted(entries, key=lambda entry: entry.position):
        bodies.add(entry)
    return bodies


def numbered_entry(
    bodies: Bodies, lines: Sequence[Line], *, dropped: int, position: Position
) -> NumberedEntry | None:
    """Return the block that a fold's numbered events go into; None when there were none.

    A block is named by the last offset of the first fold in it, which no other fold ends at.
    ``dropped``: how many of the oldest blocks the fold forgets.
    """
    runs = tuple(run for line in lines for run in line.numbered())
    if not runs:
        return None
    first_offset = position.offset
    if len(bodies.blocks) > dropped:
        growing = bodies.blocks[-1]
        if _size(growing) < BLOCK_BODIES_MIN and growing.position.epoch == position.epoch:
            runs, first_offset = growing.runs + runs, growing.first_offset
    return NumberedEntry(
        partition=position.partition, position=position, first_offset=first_offset, runs=runs
    )


def lines_to_drop(
    lines: Mapping[LineKey, LineEntry], *, before_us: int
) -> tuple[list[LineKey], bool]:
    """Return the lines that have been silent for too long, and whether room made more of them go.

    ``before_us``: a line whose last event was stored earlier is past the horizon.
    """
    expired = [key for key, line in lines.items() if line.stored_us < before_us]
    surplus = len(lines) - len(expired) - LINES_MAX
    if surplus <= 0:
        return expired, False
    gone = set(expired)
    rest = sorted((each for each in lines.items() if each[0] not in gone), key=_silent_since)
    return [*expired, *(key for key, _ in rest[:surplus])], True


def _silent_since(item: tuple[LineKey, LineEntry]) -> tuple[int, LineKey]:
    return item[1].stored_us, item[0]
