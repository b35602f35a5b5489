"""Buckets: has this entitlement used its throughput up, and when has it drained again?

A bucket fills with the tokens that are charged and drains continuously at its rate; a request is
admitted while the level is below the depth, so one request may overshoot it once.  The level is
kept in micro-tokens (tokens x 1,000,000): tokens per second times microseconds, with nothing to
round.  What is free (depth - level) never grows but by draining: a raised rate arrives with a full
bucket, a cut takes its depth away, so that moving a share about creates no burst.  A bucket that
nothing was charged to arrives full but for one micro-token: its first request never waits, and the
bound (rate x time + one request) is the same, since admitting takes a level below the depth anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.units import US_PER_S, ceil_div


@dataclass(slots=True)
class Bucket:
    """Tokens charged and not yet drained, at ``rate`` tokens per second."""

    rate: int = 0
    depth_s: int = 0
    level_utok: int = 0
    at_us: int = 0

    @property
    def depth_utok(self) -> int:
        """How much it holds before it admits nothing."""
        return self.rate * self.depth_s * US_PER_S

    def drain(self, now_us: int) -> None:
        """Let the time until ``now_us`` drain; an earlier time changes nothing."""
        if now_us > self.at_us:
            level_utok = self.level_utok - self.rate * (now_us - self.at_us)
            self.level_utok = level_utok if level_utok > 0 else 0
            self.at_us = now_us

    def reshape(self, rate: int, *, depth_s: int, now_us: int) -> None:
        """Follow another rate: what is free stays free, as far as the new depth holds it."""
        self.drain(now_us)
        before = self.depth_utok
        self.rate, self.depth_s = rate, depth_s
        if before == 0 and self.level_utok == 0:
            self.level_utok = max(0, self.depth_utok - 1)
            return
        self.level_utok = max(0, self.level_utok + self.depth_utok - before)

    def admits(self, now_us: int) -> bool:
        """Say whether one more request may start, whatever its size."""
        if now_us > self.at_us:
            self.drain(now_us)
        return self.level_utok < self.depth_utok

    def charge(self, tokens: int, *, now_us: int) -> None:
        """Add tokens, or take back (negative) what was charged too much; never below empty."""
        if now_us > self.at_us:
            self.drain(now_us)
        level_utok = self.level_utok + tokens * US_PER_S
        self.level_utok = level_utok if level_utok > 0 else 0

    def wait_us(self, now_us: int) -> int | None:
        """Return the time until it admits again; None when it never drains at this rate."""
        if self.admits(now_us):
            return 0
        if self.rate == 0:
            return None
        return (self.level_utok - self.depth_utok) // self.rate + 1

    def level_tokens(self, now_us: int) -> int:
        """Return the level in tokens, rounded up."""
        self.drain(now_us)
        return ceil_div(self.level_utok, US_PER_S)
