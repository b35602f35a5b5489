"""Sizes: how much the metering benches read, and how often.

``TOKENPOOLS_BENCH_SCALE`` (a percentage, default 100) makes every log smaller or larger;
``TOKENPOOLS_BENCH_ROUNDS`` says how many rounds a median is taken of.
"""

from __future__ import annotations

import os
from typing import Final

SCALE: Final = int(os.environ.get("TOKENPOOLS_BENCH_SCALE", "100"))
ROUNDS: Final = int(os.environ.get("TOKENPOOLS_BENCH_ROUNDS", "5"))

PARTITIONS: Final = 16
POOLS: Final = 32
"""Two in each partition."""
ENTITLEMENTS: Final = 32
"""Per pool: 1,024 keys."""
GATEWAYS: Final = 4
"""Numbering sources."""
FRAME_EVENTS: Final = 64
EVENTS_PER_S: Final = 100_000
"""How densely the event times of a backlog lie."""
BATCH_BYTES: Final = 65_536
"""Record batches of a backlog are filled up to here, as a producer under load fills them."""


def scaled(events: int) -> int:
    """Return the number of events at this run's scale."""
    return max(1_000, events * SCALE // 100)
