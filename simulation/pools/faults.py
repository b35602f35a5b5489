"""Faults: what may go wrong in a simulated world, how often and how badly.

Rates are parts per million of messages, or mean seconds between two faults of a kind (0: never).
Everything is drawn from the world's seed; a stream of its own for each kind, so that another rate
of one kind changes nothing of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schemas.units import US_PER_MS, US_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How records of a topic reach a reader."""

    delay_ms_min: int = 2
    delay_ms_max: int = 10
    lost_ppm: int = 0
    """Does not reach this reader at all.  Reports: the producer gave up.  States: as if it had been
    compacted away, which is more than a broker does, since the next one may be seconds away."""
    repeated_ppm: int = 0
    """Stored twice by a producer's retry."""
    overtaken_ppm: int = 0
    """Comes after records that were sent later: more than one partition of a broker does, but what
    a former owner or a restarted producer can cause."""
    overtaken_ms_max: int = 0
    compacted_ppm: int = 0
    """Of those that a reader missed while it was cut off and whose key was written again since:
    gone when it comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFaults:
    """What happens to usage events on their way to the log."""

    delay_ms_min: int = 2
    delay_ms_max: int = 20
    repeated_ppm: int = 0
    slow_ppm: int = 0
    """Held up at the gateway, so that it comes long after later ones."""
    slow_ms_max: int = 0
    misplaced_ppm: int = 0
    """Written to another partition, as a client with another hash would."""
    corrupted_ppm: int = 0
    """Arrives as bytes that are no event: its tokens are counted nowhere."""
    conflict_ppm: int = 0
    """Its id is used again with other amounts, later."""
    binary_ppm: int = 0
    """In the binary mode of CloudEvents."""


class FaultKind(StrEnum):
    """Faults that happen at a time."""

    KILL = "kill"
    """An admitter's process ends: its memory is lost, another incarnation starts at its URL."""
    LEAVE = "leave"
    """An admitter says that it is leaving, ends, and starts again."""
    PAUSE = "pause"
    """An admitter stands still, then goes on where it was."""
    CUT_OFF = "cut_off"
    """An admitter's connection to the broker is down in both directions."""
    CRASH = "crash"
    """The owner's process ends, at once or between two writes; another one takes over."""
    OWNER_PAUSE = "owner_pause"
    """The owner stands still; another one takes over, then it wakes and goes on for a while."""
    CAPACITY_SILENCE = "capacity_silence"
    """The highest writer of ``pool-capacity`` says nothing for a while; its record expires."""


class Stage(StrEnum):
    """Where a crash hits the owner."""

    AT_ONCE = "at once"
    VERDICTS = "after verdicts, before the changelog"
    CHANGELOG = "after the changelog, before anything else"
    RECORD = "after the tick's record, before its state"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFault:
    """One fault: drawn from the seed, or ordered."""

    at_us: int
    kind: FaultKind
    door: int = 0
    """Of the admitters' faults."""
    lasts_us: int = 0
    """Of pauses, cuts and silences; of kills and leaves: until the restart; of crashes: until
    another owner takes over."""
    stage: Stage = Stage.AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How often something happens, and for how long."""

    every_s: int = 0
    """Mean time between two over all admitters; 0: never."""
    ms_min: int = 0
    ms_max: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Everything that may go wrong."""

    name: str = "none"
    states: Delivery = Delivery()
    reports: Delivery = Delivery()
    usage: UsageFaults = UsageFaults()
    timed: dict[FaultKind, Span] = field(default_factory=dict)
    clock_drift_ppm_max: int = 0
    clock_skew_ms_max: int = 0
    session_ms: int = 3_000
    """After so long a silence of its owner another worker takes the partition over."""
    zombie_ms_max: int = 0
    """How long a woken former owner goes on before it learns that it was replaced."""
    calm_after_us: int | None = None
    """World time after which no fault of ``timed`` begins."""


NONE: Final = Faults()

MILD: Final = Faults(
    name="mild",
    states=Delivery(
        delay_ms_max=300,
        lost_ppm=20_000,
        repeated_ppm=20_000,
        overtaken_ppm=20_000,
        overtaken_ms_max=1_500,
        compacted_ppm=300_000,
    ),
    reports=Delivery(
        delay_ms_max=300,
        lost_ppm=50_000,
        repeated_ppm=20_000,
        overtaken_ppm=20_000,
        overtaken_ms_max=1_500,
    ),
    usage=UsageFaults(
        delay_ms_max=200,
        repeated_ppm=20_000,
        slow_ppm=10_000,
        slow_ms_max=5_000,
        misplaced_ppm=10_000,
        corrupted_ppm=2_000,
        conflict_ppm=2_000,
        binary_ppm=100_000,
    ),
    timed={
        FaultKind.KILL: Span(every_s=30, ms_min=500, ms_max=5_000),
        FaultKind.LEAVE: Span(every_s=60, ms_min=500, ms_max=5_000),
        FaultKind.PAUSE: Span(every_s=40, ms_min=200, ms_max=4_000),
        FaultKind.CUT_OFF: Span(every_s=40, ms_min=500, ms_max=8_000),
        FaultKind.CRASH: Span(every_s=30, ms_min=300, ms_max=4_000),
        FaultKind.OWNER_PAUSE: Span(every_s=60, ms_min=500, ms_max=6_000),
        FaultKind.CAPACITY_SILENCE: Span(every_s=60, ms_min=2_000, ms_max=15_000),
    },
    clock_drift_ppm_max=50,
    clock_skew_ms_max=500,
    zombie_ms_max=1_500,
)

HARSH: Final = Faults(
    name="harsh",
    states=Delivery(
        delay_ms_max=1_500,
        lost_ppm=150_000,
        repeated_ppm=100_000,
        overtaken_ppm=150_000,
        overtaken_ms_max=6_000,
        compacted_ppm=700_000,
    ),
    reports=Delivery(
        delay_ms_max=1_500,
        lost_ppm=250_000,
        repeated_ppm=100_000,
        overtaken_ppm=150_000,
        overtaken_ms_max=6_000,
    ),
    usage=UsageFaults(
        delay_ms_max=1_500,
        repeated_ppm=150_000,
        slow_ppm=50_000,
        slow_ms_max=15_000,
        misplaced_ppm=100_000,
        corrupted_ppm=20_000,
        conflict_ppm=20_000,
        binary_ppm=300_000,
    ),
    timed={
        FaultKind.KILL: Span(every_s=20, ms_min=100, ms_max=15_000),
        FaultKind.LEAVE: Span(every_s=40, ms_min=100, ms_max=8_000),
        FaultKind.PAUSE: Span(every_s=25, ms_min=200, ms_max=45_000),
        FaultKind.CUT_OFF: Span(every_s=20, ms_min=500, ms_max=40_000),
        FaultKind.CRASH: Span(every_s=15, ms_min=100, ms_max=6_000),
        FaultKind.OWNER_PAUSE: Span(every_s=20, ms_min=500, ms_max=15_000),
        FaultKind.CAPACITY_SILENCE: Span(every_s=25, ms_min=2_000, ms_max=20_000),
    },
    clock_drift_ppm_max=200,
    clock_skew_ms_max=5_000,
    zombie_ms_max=4_000,
)

PRESETS: Final = {faults.name: faults for faults in (NONE, MILD, HARSH)}


def lasting_us(span: Span, part: float) -> int:
    """Return how long one of these lasts; ``part`` in [0, 1): short ones are more frequent."""
    return (span.ms_min + int((span.ms_max - span.ms_min) * part * part)) * US_PER_MS


def gap_us(span: Span, units: float) -> int:
    """Return the time to the next one; ``units`` is exponential with mean 1."""
    return int(span.every_s * US_PER_S * units)
