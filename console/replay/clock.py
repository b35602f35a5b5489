"""Clock: microseconds since 1970 that never go back, for one process."""

from __future__ import annotations

import time
from collections.abc import Callable

NowUs = Callable[[], int]


def steady_wall_clock() -> NowUs:
    """Return a clock that starts at the wall clock's time and then follows the monotonic one."""
    offset_us = (time.time_ns() - time.monotonic_ns()) // 1_000
    return lambda: offset_us + time.monotonic_ns() // 1_000
