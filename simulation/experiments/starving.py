"""Starving: for how many ticks was one of equals granted too little while another had too much?

The law on fairness (``simulation.laws.fairness``) says at most 2; this counts, tick by tick, how
far a run came.
"""

from __future__ import annotations

from collections import deque

from schemas.pools import Pool
from schemas.ticks import Tick
from simulation.laws.fairness import Fairness
from simulation.laws.lines import lines_of
from simulation.pools.tokenpools import TokenPools


class StarvingWatch:
    """Looks at every new tick of token pools; ``look`` is what the world calls after each step."""

    def __init__(self, pool: Pool, policy: TokenPools) -> None:
        self._pool = pool
        self._policy = policy
        self._fairness = Fairness()
        self._seen: Tick | None = None
        self.ticks_max = 0
        """The longest run of ticks."""

    def look(self, now_us: int) -> None:
        """Count the latest tick, once."""
        ticks = self._policy.ticks
        if not ticks or ticks[-1].tick is self._seen:
            return
        self._seen = tick = ticks[-1].tick
        deque(self._fairness.check(tick, lines_of(self._pool, tick)), maxlen=0)
        self.ticks_max = max(self.ticks_max, *self._fairness.short.values(), 0)
