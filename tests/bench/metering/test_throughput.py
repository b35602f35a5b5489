"""How fast does a worker drain a log of usage, beside a bare loop around the same fold?

Each round drains the same stored log by the bare loop and by our worker, in turns, on the same
broker; a figure is the median over the rounds.  See ``drain`` for what is timed.  The pools have
``tickMs`` 60,000, because the bare loop has no ticks; ``metering.1.ticking`` is the same with ticks
of all pools every second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import pytest

from schemas.topics import STREAMS_APP
from tests.bench.figures import Figure
from tests.bench.metering import plain
from tests.bench.metering.child import Child, ended_with, start_module, start_worker
from tests.bench.metering.drain import CHANGELOG, Drained, measured, steady, steps, watch
from tests.bench.metering.site import BARE_CHANGELOG, Site, build
from tests.bench.metering.sizes import ROUNDS, scaled
from tests.bench.metering.traffic import Shape, Traffic

SINGLE: Final = Traffic(events=scaled(800_000))
LINES: Final = Traffic(events=scaled(600_000), shape=Shape.LINES)
ARRAY: Final = Traffic(events=scaled(200_000), shape=Shape.ARRAY)
UNNUMBERED: Final = Traffic(events=scaled(200_000), numbered=False)
PLAIN: Final = Traffic(events=scaled(10_000))
PLAIN_S_MAX: Final = 60.0
UNIT: Final = "events/s"
CPU_UNIT: Final = "events/CPU-s"
BARE_NAME: Final = "a bare loop around the same fold"

pytestmark = pytest.mark.timeout(1_200)


class Contender(NamedTuple):
    """What drains the log."""

    workers: int
    whole: bool = True
    tick_ms: int = 60_000


BARE: Final = Contender(0)
WHOLE: Final = Contender(1)
ORDINARY: Final = Contender(1, whole=False)
TICKING: Final = Contender(1, tick_ms=1_000)
TWO: Final = Contender(2)

Rounds = Mapping[Contender, list[Drained]]


async def rounds(bootstrap: str, traffic: Traffic, folder: Path, *who: Contender) -> Rounds:
    """Let everyone drain the log in each round, in every other one in the opposite order.

    So nobody always comes right after the bare loop.
    """
    site = await build(bootstrap, traffic)
    taken: dict[Contender, list[Drained]] = {each: [] for each in who}
    for number in range(ROUNDS):
        for each in who[:: -1 if number % 2 else 1]:
            site = await site.renew()
            await site.apply(tick_ms=each.tick_ms)
            taken[each].append(await drained(site, each, folder))
    await site.drop()
    return taken


async def drained(site: Site, who: Contender, folder: Path) -> Drained:
    """Drain the log once."""
    children = _start(site, who, folder)
    group = site.options.group(STREAMS_APP if who.workers else "bare")
    try:
        await watch(site, children, group=group)
    finally:
        for child in children:
            child.end()
    taken = await steps(site, CHANGELOG if who.workers else BARE_CHANGELOG.name)
    whole = measured(site, taken, children)
    return steady(taken, children) if who.workers > 1 else whole


def _start(site: Site, who: Contender, folder: Path) -> list[Child]:
    if not who.workers:
        bare = "tests.bench.metering.bare"
        return [start_module(bare, site, folder / "bare.log", changelog=BARE_CHANGELOG.name)]
    switch = str(int(who.whole))
    return [
        start_worker(site, folder / f"worker-{number}.log", TOKENPOOLS_WHOLE_BATCHES=switch)
        for number in range(who.workers)
    ]


def rate(taken: list[Drained]) -> float:
    """Return the median rate."""
    return median(each.rate for each in taken)


def cpu_rate(taken: list[Drained]) -> float:
    """Return the median rate per CPU second."""
    return median(each.cpu_rate for each in taken)


def faster(name: str, value: float, ceiling: float, than: str, *, unit: str = UNIT) -> Figure:
    """Return a figure of which more is better."""
    return Figure(name, value, unit, ceiling, than, more_is_better=True)


def against_bare(name: str, taken: Rounds) -> list[Figure]:
    """Return what the worker did beside the bare loop, on the clock and per CPU second."""
    bare, bare_cpu = rate(taken[BARE]), cpu_rate(taken[BARE])
    found = []
    for who, suffix in ((WHOLE, ""), (ORDINARY, ".ordinary"), (TICKING, ".ticking")):
        if who in taken:
            found += [
                faster(f"{name}{suffix}", rate(taken[who]), bare, BARE_NAME),
                faster(
                    f"{name}{suffix}.cpu", cpu_rate(taken[who]), bare_cpu, BARE_NAME, unit=CPU_UNIT
                ),
            ]
    return found


async def test_one_event_per_record(
    kafka_bootstrap: str, tmp_path: Path, figures: list[Figure]
) -> None:
    who = (BARE, WHOLE, ORDINARY, TICKING, TWO)
    taken = await rounds(kafka_bootstrap, SINGLE, tmp_path, *who)
    one, two = rate(taken[WHOLE]), rate(taken[TWO])
    figures += against_bare("metering.1", taken)
    figures.append(faster("metering.two_workers.1", two, one, "one worker"))
    slow = await plainly(kafka_bootstrap, tmp_path)
    figures.append(
        faster("metering.plain_faust", one, slow, "a plain Faust agent, a table write per event")
    )


async def test_64_events_per_record(
    kafka_bootstrap: str, tmp_path: Path, figures: list[Figure]
) -> None:
    taken = await rounds(kafka_bootstrap, LINES, tmp_path, BARE, WHOLE, ORDINARY)
    figures += against_bare("metering.64", taken)


async def test_64_events_in_an_array(
    kafka_bootstrap: str, tmp_path: Path, figures: list[Figure]
) -> None:
    taken = await rounds(kafka_bootstrap, ARRAY, tmp_path, BARE, WHOLE)
    figures += against_bare("metering.64.array", taken)


async def test_events_without_numbers(
    kafka_bootstrap: str, tmp_path: Path, figures: list[Figure]
) -> None:
    taken = await rounds(kafka_bootstrap, UNNUMBERED, tmp_path, BARE, WHOLE)
    figures += against_bare("metering.1.unnumbered", taken)


async def plainly(bootstrap: str, folder: Path) -> float:
    """Return the events per second of the plain agent."""
    site = await build(bootstrap, PLAIN)
    taken = []
    for number in range(ROUNDS):
        site = await site.renew()
        log = folder / f"plain-{number}.log"
        child = start_module("tests.bench.metering.plain", site, log, changelog=CHANGELOG)
        try:
            line = await ended_with(child, plain.DONE, deadline_s=PLAIN_S_MAX)
        finally:
            child.end()
        taken.append(PLAIN.events / float(line.removeprefix(plain.DONE).split()[0]))
    await site.drop()
    return median(taken)
