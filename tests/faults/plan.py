"""The plan: which process dies where, drawn from a seed before anything starts.  Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from tests.faults.fuse import Point

STREAMS_POINTS: Final = (
    Point.AFTER_VERDICTS,
    Point.AFTER_CHANGELOG,
    Point.BEFORE_COMMIT,
    Point.RANDOM,
)
HISTORY_POINTS: Final = (
    Point.MID_INSERT,
    Point.TORN_INSERT,
    Point.BEFORE_COMMIT,
    Point.RANDOM,
)
STREAMS_SHARE_PERCENT: Final = 55
"""Of all kills; the others are of history."""
PASSAGES_MAX: Final = 10
COMMITS_MAX: Final = 3
"""Passages of the point before a commit, of which streams has one a second."""
LIFE_S_MAX: Final = 6.0
"""A random kill comes at most so long after the start, often while it still recovers."""


@dataclass(frozen=True)
class Life:
    """One life of a process and how it ends."""

    point: Point
    passage: int = 1
    after_s: float = 0.0


@dataclass(frozen=True)
class Meeting:
    """Two processes share the partitions; then one of them goes."""

    joins_after_s: float
    together_s: float
    first_goes: bool
    is_killed: bool


@dataclass(frozen=True)
class Zombie:
    """A worker is paused past its session and woken; the changelog is compacted afterwards."""


@dataclass(frozen=True)
class Pause:
    """A history is paused past its session before it commits, and woken beside its heir."""

    point: Point
    passage: int


StreamsStep = Life | Meeting | Zombie
HistoryStep = Life | Meeting | Pause


@dataclass(frozen=True)
class Plan:
    """Everything that happens to the processes of one lane."""

    streams: tuple[StreamsStep, ...]
    history: tuple[HistoryStep, ...]


def plan_of(rng: random.Random, *, kills: int, meetings: int, zombies: int) -> Plan:
    """Draw a plan with at least so many kills, spread evenly over the points."""
    streams_kills = -(-kills * STREAMS_SHARE_PERCENT // 100)
    streams: list[StreamsStep] = [*lives(rng, STREAMS_POINTS, streams_kills)]
    streams += [_meeting(rng) for _ in range(meetings)] + [Zombie() for _ in range(zombies)]
    rng.shuffle(streams)
    history: list[HistoryStep] = [*lives(rng, HISTORY_POINTS, max(0, kills - streams_kills))]
    history += [_meeting(rng) for _ in range(meetings)] + [_pause(rng) for _ in range(zombies)]
    rng.shuffle(history)
    return Plan(tuple(streams), tuple(history))


def lives(rng: random.Random, points: tuple[Point, ...], count: int) -> tuple[Life, ...]:
    """Draw lives that end at each point in turn, in any order."""
    drawn = [
        Life(
            point := points[number % len(points)],
            passage=rng.randint(1, COMMITS_MAX if point is Point.BEFORE_COMMIT else PASSAGES_MAX),
            after_s=rng.uniform(0.2, LIFE_S_MAX),
        )
        for number in range(count)
    ]
    rng.shuffle(drawn)
    return tuple(drawn)


def _meeting(rng: random.Random) -> Meeting:
    return Meeting(
        joins_after_s=rng.uniform(0.0, 3.0),
        together_s=rng.uniform(1.0, 5.0),
        first_goes=rng.random() < 0.5,
        is_killed=rng.random() < 0.5,
    )


def _pause(rng: random.Random) -> Pause:
    return Pause(rng.choice((Point.BEFORE_COMMIT, Point.MID_INSERT)), rng.randint(1, COMMITS_MAX))
