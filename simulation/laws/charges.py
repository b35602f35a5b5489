"""Law 2 on throughput: tokens charged in any window stay within ∫ capacity, the buckets' depths at
its beginning, and the exported bound.

Charged are estimates at admission, less what settlements take back; what a request uses beyond its
estimate is the estimator's error, which the bound exports after the fact.  With D = charged -
∫ capacity, a window from s to t is within the law if D(t) - D(s) <= depths(s) + bound, so the
smallest D(s) + depths(s) of the last L seconds judges all windows up to L at once.

The bound in force is the largest one exported from L before the window's end until the first tick
one lease after it: for so long an admitter may act on a state before the allocator hears of it.
The largest request of a bucket is in the bound once it was reported; of an admitter that no tick
could hear (it is cut off or gone, or the owner is new) it is added from what was really admitted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from schemas.units import US_PER_S
from simulation.laws.broken import Broken

WINDOWS_S: Final = (1, 5, 15, 60)


@dataclass(slots=True)
class _Window:
    """All windows up to one length."""

    length_us: int
    starts: deque[tuple[int, int]] = field(default_factory=deque)
    """(time, D + depths) in rising order of both: the first is the smallest that still counts."""
    worst: deque[tuple[int, int]] = field(default_factory=deque)
    """(time, excess) of stretches between ticks, to be judged one lease later."""
    excess: int = 0
    """The largest since the last tick, in millionths of a token."""

    def begin(self, now_us: int, level: int) -> None:
        """A window may begin now."""
        while self.starts and self.starts[-1][1] >= level:
            self.starts.pop()
        self.starts.append((now_us, level))
        while self.starts[0][0] < now_us - self.length_us:
            self.starts.popleft()

    def end(self, surplus: int) -> None:
        """A window may end now."""
        self.excess = max(self.excess, surplus - self.starts[0][1])


@dataclass(slots=True)
class Charges:
    """Tokens charged over time, in millionths of a token."""

    lease_us: int
    capacity_tokens_per_s: int = 0
    surplus: int = 0
    """D."""
    at_us: int = 0
    windows: tuple[_Window, ...] = field(
        default_factory=lambda: tuple(_Window(length * US_PER_S) for length in WINDOWS_S)
    )
    bounds: deque[tuple[int, int]] = field(default_factory=deque)
    """(time, exported bound in tokens) of the ticks that may still be in force."""
    largest: dict[int, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """By door and bucket: when, and how many tokens."""

    def flow(self, now_us: int) -> None:
        """Let capacity drain until now."""
        if now_us > self.at_us:
            self.surplus -= self.capacity_tokens_per_s * (now_us - self.at_us)
            self.at_us = now_us

    def admitted(self, door: int, bucket: str, tokens: int, *, now_us: int) -> None:
        """Remember the largest request that a bucket admitted lately."""
        largest = self.largest.setdefault(door, {})
        before_us, before = largest.get(bucket, (0, 0))
        if tokens >= before or before_us < now_us - self.windows[-1].length_us:
            largest[bucket] = (now_us, tokens)

    def unheard(self, doors: Iterable[int]) -> int:
        """Return the largest requests of the buckets of these doors."""
        return sum(tokens for door in doors for _, tokens in self.largest.get(door, {}).values())

    def charge(self, tokens: int, *, depth_tokens: int, now_us: int) -> None:
        """Charge tokens, or take some back; ``depth_tokens`` is the sum over all buckets."""
        self.flow(now_us)
        if tokens <= 0:
            self.surplus += tokens * US_PER_S
            return
        level = self.surplus + depth_tokens * US_PER_S
        self.surplus += tokens * US_PER_S
        for window in self.windows:
            window.begin(now_us, level)
            window.end(self.surplus)

    def tick(self, bound_tokens: int, *, now_us: int) -> Iterator[Broken]:
        """Note an exported bound, and judge what is old enough."""
        self.bounds.append((now_us, bound_tokens))
        for window in self.windows:
            window.worst.append((now_us, window.excess))
            window.excess = 0
        yield from self._judge(before_us=now_us - self.lease_us)
        longest_us = self.windows[-1].length_us + 2 * self.lease_us
        while self.bounds[0][0] < now_us - longest_us:
            self.bounds.popleft()

    def close(self) -> Iterator[Broken]:
        """Judge what is left."""
        for window in self.windows:
            window.worst.append((self.at_us, window.excess))
        yield from self._judge(before_us=self.at_us)

    def _judge(self, *, before_us: int) -> Iterator[Broken]:
        for window in self.windows:
            while window.worst and window.worst[0][0] <= before_us:
                at_us, excess = window.worst.popleft()
                if excess <= 0:
                    continue
                bound = self._bound(at_us - window.length_us)
                if excess > bound * US_PER_S:
                    over = -(-(excess - bound * US_PER_S) // US_PER_S)
                    text = (
                        f"windows up to {window.length_us // US_PER_S} s that end by "
                        f"{at_us / US_PER_S:.3f} s were charged {over} tokens more than capacity, "
                        f"bucket depths and the exported bound of {bound} tokens"
                    )
                    yield Broken(2, "tokens charged", text)

    def _bound(self, since_us: int) -> int:
        return max((each for at, each in self.bounds if at >= since_us), default=0)
