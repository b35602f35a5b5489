"""Python's garbage collector in a process that reads a stream."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""A poll makes tens of thousands of objects that die together, and nothing in them is a cycle:
with Python's own thresholds (700, 10, 10) the collector walks them again and again."""


def slow_down() -> None:
    """Let the collector of this process run seldom; cycles are still found."""
    gc.set_threshold(*THRESHOLDS)
