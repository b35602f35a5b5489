"""Retry-After: when is it worth coming back?

Throughput: when the bucket has drained.  Slots and KV: when the next running request is expected to
end, the mean duration divided by how many run.  Jitter spreads those who were refused together;
it comes from the request's id, so the answer can be computed again.
"""

from __future__ import annotations

import zlib
from typing import Final

from schemas.units import US_PER_MS, ceil_div

RETRY_MS_MIN: Final = 50
RETRY_MS_MAX: Final = 60_000
JITTER_DIVISOR: Final = 4
"""Jitter is at most a quarter of the wait."""


def wait_for_drain_ms(wait_us: int | None, *, tick_ms: int) -> int:
    """Return the wait for a bucket; one that has no rate is asked again after two ticks."""
    return 2 * tick_ms if wait_us is None else ceil_div(wait_us, US_PER_MS)


def wait_for_slot_ms(mean_ms: int, *, running: int, tick_ms: int) -> int:
    """Return the mean time until one of ``running`` ends; a tick where nothing is known."""
    if mean_ms == 0 or running <= 0:
        return tick_ms
    return ceil_div(mean_ms, running)


def with_jitter_ms(wait_ms: int, *, request_id: str) -> int:
    """Return the wait within its bounds, plus up to a quarter of it."""
    bounded = min(max(wait_ms, RETRY_MS_MIN), RETRY_MS_MAX)
    return bounded + zlib.crc32(request_id.encode()) % (bounded // JITTER_DIVISOR + 1)
