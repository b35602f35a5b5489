"""Frames: which waiting events of a pool travel in one record, and as what bytes.

A frame is a record of newline-delimited CloudEvents; an event that has its record for itself is a
plain structured one.  The bytes of an event are made once: alone, in a frame and repeated in
another they are the same, because the meter takes other bytes under the same id for a conflict.
Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from schemas.usage import CONTENT_TYPE_HEADER, NDJSON, STRUCTURED, Headers, UsageEvent


class Line(NamedTuple):
    """An event on its way, with its bytes (JSON holds no line break of its own)."""

    event: UsageEvent
    value: bytes
    submitted_s: float
    """On any clock that does not go back."""


class Waiting:
    """Events of one pool that no record holds yet, oldest first."""

    def __init__(self, *, events_max: int, bytes_max: int) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._lines: deque[Line] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def oldest_s(self) -> float:
        """When the oldest was submitted; there must be one."""
        return self._lines[0].submitted_s

    @property
    def is_full(self) -> bool:
        """Whether one more event may not fit into the next frame."""
        return len(self._lines) >= self._events_max or self._bytes >= self._bytes_max

    def add(self, line: Line) -> None:
        """Put the event behind the others."""
        self._lines.append(line)
        self._bytes += _size_bytes(line)

    def take(self) -> list[Line]:
        """Return the oldest events, as many as one frame holds; an event of any size alone."""
        taken: list[Line] = []
        left_bytes = self._bytes_max
        while self._lines and len(taken) < self._events_max:
            left_bytes -= _size_bytes(self._lines[0])
            if taken and left_bytes < 0:
                break
            taken.append(self._lines.popleft())
        self._bytes -= sum(map(_size_bytes, taken))
        return taken

    def take_all(self) -> list[Line]:
        """Return all events."""
        lines = list(self._lines)
        self._lines.clear()
        self._bytes = 0
        return lines


def record_of(lines: Sequence[Line]) -> tuple[bytes, Headers]:
    """Return value and headers of the record that holds these events in this order."""
    content_type = STRUCTURED if len(lines) == 1 else NDJSON
    return b"\n".join(line.value for line in lines), [(CONTENT_TYPE_HEADER, content_type)]


def _size_bytes(line: Line) -> int:
    """What it takes in a frame, its line break included."""
    return len(line.value) + 1
