"""The estimator: how many tokens will this request produce, and for how long will it run?

Output is estimated from the entitlement's own settled outputs: a quantile of a histogram whose
buckets grow by an eighth, so a value is never underestimated and overestimated by less than
12.5 %.  It is bounded (one counter per bucket, halved when it has seen ``SAMPLES_MAX``), which
also lets it follow a tenant that changes.  Only throughput is estimated: KV cache is always held
for the worst case.

*Calibration.*  Which quantile is asked for (the level) follows what came of the estimates: each
output above its estimate raises it by ``STEP_PPM`` x target, each other one lowers it by
``STEP_PPM`` x (1 - target).  So whatever the outputs are, of any T estimates made one after the
other

    misses <= (1 - target) x T + (1 - LEVEL_MIN) / step + 1                         (T / 5 + 31)

because the level is never below ``LEVEL_PPM_MIN``, a miss is impossible once it has reached 1 (the
estimate is then ``max_tokens``), and it falls by no more than what was covered.  As it is not
lowered further, more than the target is covered where many outputs are equal or ``max_tokens`` is
close to the output: guessing too little now and then would only be noise.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from schemas.units import PPM, ceil_div

SAMPLES_MIN: Final = 20
"""Until so many outputs were seen, the estimate is what the request may produce at most."""
SAMPLES_MAX: Final = 1_024
TARGET_PPM: Final = 800_000
"""The part of outputs that should be at most what was estimated."""
STEP_PPM: Final = 20_000
LEVEL_PPM_MIN: Final = 400_000
_EXACT: Final = 16
"""Values below have a bucket of their own."""
_STEPS: Final = 8
"""Buckets per power of two above that."""
DURATION_WEIGHT: Final = 8
"""One new duration counts an eighth of the mean."""
HELD_WEIGHT: Final = 32
"""One new request counts a thirty-second: its length varies more than a mean of durations."""


@dataclass(slots=True)
class OutputEstimator:
    """The outputs of one entitlement, per choice, in tokens."""

    counts: dict[int, int] = field(default_factory=dict)
    samples: int = 0
    level_ppm: int = TARGET_PPM
    """The quantile that is asked of the histogram now; from ``PPM`` on the estimate is
    ``max_tokens``."""
    _bucket: int = 0
    """Where the quantile was when it was last asked for."""
    _below: int = 0
    """How many of ``samples`` are in lower buckets than that, kept up to date."""

    def observe(self, output_tokens: int, *, covered: bool) -> None:
        """Remember one real output, and whether the estimate given for it was enough."""
        if self.samples >= SAMPLES_MIN:
            self._calibrate(covered)
        bucket = bucket_of(output_tokens)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.samples += 1
        self._below += bucket < self._bucket
        if self.samples >= SAMPLES_MAX:
            self.counts = {bucket: count // 2 for bucket, count in self.counts.items() if count > 1}
            self.samples = sum(self.counts.values())
            self._bucket = self._below = 0

    def expect(self, max_tokens: int) -> int:
        """Return min(max_tokens, learned quantile); max_tokens until enough was seen."""
        if self.samples < SAMPLES_MIN or self.level_ppm >= PPM:
            return max_tokens
        return min(max_tokens, self.quantile(self.level_ppm))

    def quantile(self, quantile_ppm: int) -> int:
        """Return the upper edge of the bucket that holds the quantile."""
        wanted = ceil_div(self.samples * quantile_ppm, PPM)
        if not self._below < wanted <= self._below + self.counts.get(self._bucket, 0):
            self._seek(wanted)
        return upper_edge(self._bucket)

    def _seek(self, wanted: int) -> None:
        """Go to the lowest bucket up to which so many samples are."""
        self._bucket = self._below = seen = 0
        for bucket in sorted(self.counts):
            self._bucket, self._below = bucket, seen
            seen += self.counts[bucket]
            if seen >= wanted:
                return

    def _calibrate(self, covered: bool) -> None:
        """Move the level: up by target x step after a miss, down by the rest of it otherwise."""
        if not covered:
            if self.level_ppm < PPM:
                self.level_ppm += STEP_PPM * TARGET_PPM // PPM
            return
        down = STEP_PPM * (PPM - TARGET_PPM) // PPM
        self.level_ppm = max(LEVEL_PPM_MIN, self.level_ppm - down)


ERROR_EDGES: Final = (-1_024, -256, -64, -16, 0, 16, 64, 256, 1_024)
"""Upper edges of the buckets of (actual - estimate) tokens; the last bucket has none."""


@dataclass(slots=True)
class EstimateRecord:
    """How good the estimates of one entitlement were, of requests that were completed."""

    seen: int = 0
    covered: int = 0
    """Outputs that were at most what was estimated."""
    over_tokens: int = 0
    """Sum of estimate - actual where too much was estimated."""
    under_tokens: int = 0
    """Sum of actual - estimate where too little was."""
    buckets: list[int] = field(default_factory=lambda: [0] * (len(ERROR_EDGES) + 1))

    def add(self, other: EstimateRecord) -> None:
        """Fold another record in."""
        self.seen += other.seen
        self.covered += other.covered
        self.over_tokens += other.over_tokens
        self.under_tokens += other.under_tokens
        self.buckets = [*map(int.__add__, self.buckets, other.buckets)]

    def observe(self, *, estimate: int, actual: int) -> bool:
        """Fold one request in; return whether its estimate was enough."""
        error = actual - estimate
        self.seen += 1
        self.covered += error <= 0
        if error > 0:
            self.under_tokens += error
        else:
            self.over_tokens -= error
        self.buckets[bisect_left(ERROR_EDGES, error)] += 1
        return error <= 0


@dataclass(slots=True)
class MeanDuration:
    """The mean time that a request holds its slot, newer ones counting more."""

    mean_ms: int = 0
    """0: nothing seen yet."""

    def observe(self, duration_ms: int) -> None:
        """Fold one duration in, rounded toward the old mean; a mean is at least 1 ms."""
        if self.mean_ms == 0:
            self.mean_ms = max(1, duration_ms)
            return
        step = abs(duration_ms - self.mean_ms) // DURATION_WEIGHT
        self.mean_ms = max(1, self.mean_ms + (step if duration_ms > self.mean_ms else -step))


@dataclass(slots=True)
class HeldDuration:
    """The time by which held tokens become a rate, newer requests counting more.

    Of the requests that run at an instant the long ones are overrepresented, so their tokens
    divided by the mean duration would overstate what they produce.  By Little's law the right
    divisor is mean(reserved x duration) / mean(used).
    """

    token_ms: int = 0
    tokens: int = 0

    @property
    def mean_ms(self) -> int:
        """0: nothing seen yet."""
        return max(1, self.token_ms // self.tokens) if self.tokens else 0

    def observe(self, duration_ms: int, *, reserved_tokens: int, used_tokens: int) -> None:
        """Fold one request in; what was seen before fades by a part of ``HELD_WEIGHT``."""
        self.token_ms += reserved_tokens * duration_ms - self.token_ms // HELD_WEIGHT
        self.tokens += used_tokens - self.tokens // HELD_WEIGHT


def bucket_of(tokens: int) -> int:
    """Return the histogram bucket of a value (negative counts as 0)."""
    if tokens < _EXACT:
        return max(0, tokens)
    shift = tokens.bit_length() - 4
    return _EXACT + (shift - 1) * _STEPS + (tokens >> shift) - _STEPS


def upper_edge(bucket: int) -> int:
    """Return the largest value of a bucket."""
    if bucket < _EXACT:
        return bucket
    shift, step = divmod(bucket - _EXACT, _STEPS)
    return ((step + _STEPS + 1) << (shift + 1)) - 1
