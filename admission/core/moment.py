"""Moments: the time that the core is given, never reads.

``mono_us`` is this process's monotonic clock: every lease, bucket and expiry is judged by it.
``wall_us`` is the wall clock: it stamps what people read and hints how old a ticket is, and
nothing that must be right depends on it.
"""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """One instant on both clocks, in microseconds."""

    mono_us: int
    wall_us: int = 0
