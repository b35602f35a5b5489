"""Story: what happened in a world, one columned line per event, as a person reads it.

Memory is bounded: only the last lines are kept.  Telling costs time, so a campaign runs without a
story and runs a seed that failed once more with one: the same seed gives the same story.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from schemas.units import US_PER_S

LINES_MAX: Final = 400
"""Lines that a story keeps."""

Tell = Callable[[int, str, str, str], None]
"""Told of one event: virtual time in microseconds, who, what, detail."""


class Story:
    """The last lines of what happened; ``tell`` is handed to the world and to the policy."""

    def __init__(self, *, seed: int, lines_max: int = LINES_MAX) -> None:
        self.seed = seed
        self.told = 0
        """Lines in all, forgotten ones included."""
        self._lines: deque[tuple[int, str, str, str]] = deque(maxlen=lines_max)

    def tell(self, at_us: int, who: str, what: str, detail: str) -> None:
        """Add a line."""
        self.told += 1
        self._lines.append((at_us, who, what, detail))

    def lines(self) -> list[str]:
        """Return the kept lines, oldest first."""
        return [
            f"{at_us / US_PER_S:>12.6f}  {who:<20}  {what:<12}  {detail}".rstrip()
            for at_us, who, what, detail in self._lines
        ]

    def __str__(self) -> str:
        forgotten = self.told - len(self._lines)
        head = f"seed={self.seed}" + (
            f" ({forgotten} earlier lines forgotten)" if forgotten else ""
        )
        return "\n".join([head, *self.lines()])
