"""Recorded: a trace file as traffic that can be read again and again, at any speed.

It holds the path, not the requests, so it costs nothing to hand to another process.  Rows that are
skipped are not named here: ``survey`` counts them, ``read_trace`` tells them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.units import PPM
from simulation.arrivals import Arrival
from simulation.traces.reading import read_trace


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The requests of a trace file."""

    path: Path
    span_us: int
    """Offset of the last request that is read, in the trace's own time."""
    speed_ppm: int = PPM
    """2,000,000: the same requests in half the time."""

    @property
    def duration_us(self) -> int:
        """How long it lasts at its speed; the last request comes before its end."""
        return self.span_us * PPM // self.speed_ppm + 1

    def __iter__(self) -> Iterator[Arrival]:
        """Yield the requests in order, from the beginning of the file."""
        for arrival in read_trace(self.path, on_bad_row=lambda _: None):
            if arrival.offset_us > self.span_us:
                return
            yield replace(arrival, offset_us=arrival.offset_us * PPM // self.speed_ppm)
