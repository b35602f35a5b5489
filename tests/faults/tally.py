"""The tally: kills by process and point, restarts, and how they are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.faults.fuse import Point
from tests.faults.plan import HISTORY_POINTS, STREAMS_POINTS


@dataclass
class Tally:
    """What has been done to whom."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By process and point."""
    other: Counter[str] = field(default_factory=Counter)
    """Everything else: stops, joins, pauses, compactions."""
    starts: Counter[str] = field(default_factory=Counter)
    """By process (with its lane): every one after the first is a restart."""
    unplanned: list[str] = field(default_factory=list)
    """Ends that nobody had ordered, with what the process said."""

    @property
    def kill_count(self) -> int:
        """All SIGKILLs."""
        return self.kills.total()

    @property
    def restart_count(self) -> int:
        """All starts but the first of each process."""
        return self.starts.total() - len(self.starts)

    def missed(self, *, at_least: int) -> list[str]:
        """Return the named points that were hit less often."""
        return [
            f"{process} {point}: {self.kills[process, point]} of {at_least}"
            for process, points in (("streams", STREAMS_POINTS), ("history", HISTORY_POINTS))
            for point in points
            if point is not Point.RANDOM and self.kills[process, point] < at_least
        ]

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        yield f"{'process':<12} {'point':<18} kills"
        for (process, point), number in sorted(self.kills.items()):
            yield f"{process:<12} {point:<18} {number:>5}"
        yield f"{'all':<31} {self.kill_count:>5}"
        for what, number in sorted(self.other.items()):
            yield f"{what}: {number}"
