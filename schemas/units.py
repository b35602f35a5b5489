"""Units: the amounts that every process counts in, and how they add up.

All amounts are integers: tokens, bytes, sequences ("slots"), microseconds (us),
milliseconds (ms) and parts per million (ppm).  A pool's capacity and everything that is
taken from it is a vector of three: token throughput (lambda, tokens per second), KV cache
(chi, bytes) and concurrency (r, active sequences).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NewType

import msgspec

Tokens = NewType("Tokens", int)
Bytes = NewType("Bytes", int)
Slots = NewType("Slots", int)
Ppm = NewType("Ppm", int)
Micros = NewType("Micros", int)
Millis = NewType("Millis", int)

PPM: Final = 1_000_000
US_PER_MS: Final = 1_000
US_PER_S: Final = 1_000_000
US_PER_MINUTE: Final = 60 * US_PER_S
US_PER_HOUR: Final = 60 * US_PER_MINUTE
MS_PER_S: Final = 1_000
BYTES_PER_GIB: Final = 1 << 30

AMOUNT_MAX: Final = (1 << 63) - 1
"""The largest amount any message may carry: what a signed 64-bit column can hold."""


class Dimension(StrEnum):
    """The three dimensions of capacity."""

    THROUGHPUT = "throughput"
    KV_CACHE = "kv_cache"
    CONCURRENCY = "concurrency"


class Resources(msgspec.Struct, frozen=True, gc=False):
    """A vector of capacity: tokens per second, bytes of KV cache, active sequences."""

    tokens_per_s: int = 0
    kv_bytes: int = 0
    slots: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.tokens_per_s + other.tokens_per_s,
            self.kv_bytes + other.kv_bytes,
            self.slots + other.slots,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.tokens_per_s - other.tokens_per_s,
            self.kv_bytes - other.kv_bytes,
            self.slots - other.slots,
        )

    def times(self, count: int) -> Resources:
        """Return this vector ``count`` times."""
        return Resources(self.tokens_per_s * count, self.kv_bytes * count, self.slots * count)

    def split(self, parts: int) -> Resources:
        """Return one of ``parts`` equal parts, each dimension rounded down."""
        return Resources(self.tokens_per_s // parts, self.kv_bytes // parts, self.slots // parts)

    def at_least(self, other: Resources) -> Resources:
        """Return the larger of the two in each dimension."""
        return Resources(
            max(self.tokens_per_s, other.tokens_per_s),
            max(self.kv_bytes, other.kv_bytes),
            max(self.slots, other.slots),
        )

    def at_most(self, other: Resources) -> Resources:
        """Return the smaller of the two in each dimension."""
        return Resources(
            min(self.tokens_per_s, other.tokens_per_s),
            min(self.kv_bytes, other.kv_bytes),
            min(self.slots, other.slots),
        )

    def covers(self, other: Resources) -> bool:
        """Say whether ``other`` fits inside this vector in every dimension."""
        return (
            self.tokens_per_s >= other.tokens_per_s
            and self.kv_bytes >= other.kv_bytes
            and self.slots >= other.slots
        )

    def of(self, dimension: Dimension) -> int:
        """Return the amount in one dimension."""
        match dimension:
            case Dimension.THROUGHPUT:
                return self.tokens_per_s
            case Dimension.KV_CACHE:
                return self.kv_bytes
            case Dimension.CONCURRENCY:
                return self.slots


NOTHING: Final = Resources()


class Held(msgspec.Struct, frozen=True, gc=False):
    """What reservations hold at one instant: reserved tokens, bytes of KV cache, sequences."""

    tokens: int = 0
    kv_bytes: int = 0
    slots: int = 0

    def __add__(self, other: Held) -> Held:
        return Held(
            self.tokens + other.tokens, self.kv_bytes + other.kv_bytes, self.slots + other.slots
        )

    def __sub__(self, other: Held) -> Held:
        return Held(
            self.tokens - other.tokens, self.kv_bytes - other.kv_bytes, self.slots - other.slots
        )


NOTHING_HELD: Final = Held()


class TokenCounts(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one increment by class; the classes never overlap.

    ``reasoning_tokens`` is an "of which" of ``output_tokens`` and is in no sum.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(
            self.input_tokens + other.input_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def total(self) -> int:
        """All tokens, unweighted: uncached input, cache read, cache write and output."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.output_tokens
        )


NO_TOKENS: Final = TokenCounts()


def ceil_div(dividend: int, divisor: int) -> int:
    """Return ``dividend / divisor`` rounded up (toward positive infinity)."""
    return -(-dividend // divisor)
