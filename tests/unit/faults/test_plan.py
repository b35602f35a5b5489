"""Every named point is hit evenly; a fuse burns at its passage; the tally says what was missed."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from tests.faults.fuse import Act, Fuse, Point
from tests.faults.plan import (
    HISTORY_POINTS,
    STREAMS_POINTS,
    Life,
    Meeting,
    Pause,
    Zombie,
    plan_of,
)
from tests.faults.tally import Tally


def test_every_named_point_gets_its_share_of_the_kills() -> None:
    plan = plan_of(random.Random(1), kills=56, meetings=2, zombies=1)
    streams = Counter(step.point for step in plan.streams if isinstance(step, Life))
    history = Counter(step.point for step in plan.history if isinstance(step, Life))

    assert streams.total() + history.total() == 56
    assert set(streams) == set(STREAMS_POINTS)
    assert set(history) == set(HISTORY_POINTS)
    assert min(streams.values()) >= 7
    assert min(history.values()) >= 6
    assert sum(isinstance(step, Meeting) for step in plan.streams) == 2
    assert sum(isinstance(step, Zombie) for step in plan.streams) == 1
    assert sum(isinstance(step, Meeting) for step in plan.history) == 2
    assert sum(isinstance(step, Pause) for step in plan.history) == 1


def test_the_same_seed_gives_the_same_plan() -> None:
    first, again, other = (
        plan_of(random.Random(seed), kills=20, meetings=1, zombies=1) for seed in (4, 4, 5)
    )

    assert first == again
    assert first != other


def test_a_fuse_is_due_once_at_its_passage_of_its_own_point() -> None:
    fuse = Fuse(point=Point.AFTER_CHANGELOG, passage=3, report=Path("unused"))
    passed = [Point.AFTER_VERDICTS, *[Point.AFTER_CHANGELOG] * 5]

    assert [fuse.due(point) for point in passed] == [False, False, False, True, False, False]


def test_a_process_without_a_fuse_passes_every_point() -> None:
    fuse = Fuse.from_env({})

    assert not any(fuse.due(point) for point in Point)


def test_a_fuse_survives_the_environment() -> None:
    fuse = Fuse(Point.MID_INSERT, 7, Act.STOP, Path("/tmp/burnt"), about="t|idle|")

    assert Fuse.from_env(fuse.environment()) == fuse


def test_a_point_that_was_hit_too_seldom_is_named() -> None:
    tally = Tally()
    for process, points in (("streams", STREAMS_POINTS), ("history", HISTORY_POINTS)):
        for point in points:
            tally.kills[process, point.value] += 10
    assert tally.missed(at_least=10) == []

    tally.kills["history", Point.TORN_INSERT.value] -= 1

    assert tally.missed(at_least=10) == ["history torn_insert: 9 of 10"]


def test_restarts_are_all_starts_but_the_first() -> None:
    tally = Tally()
    for process in ("streams 1", "streams 1", "streams 1", "history 1"):
        tally.starts[process] += 1

    assert tally.restart_count == 2
