"""How do allocation and a whole tick grow from 10 to 10,000 entitlements?

CPU times of this process, the median of several runs; beside each stands a bare sort of as many
numbers.  Where matplotlib is installed the growth is drawn into ``build/allocation.svg`` and
``.png``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import Final

import pytest

from streams.core.allocation import allocate
from streams.core.tick import advance
from tests.bench.crowds import (
    SEED,
    capacity_of,
    claims,
    crowded_pool,
    tick_sources,
    whole_reports,
)
from tests.bench.figures import BUILD, Figure

SIZES: Final = (10, 100, 1_000, 10_000)
RUNS: Final = 9
TICKS: Final = 5
ADMITTERS: Final = 2
GOAL_MS: Final = 50.0
"""What the allocation of 10,000 is meant to stay below."""


def time_ms(call: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    started_s = process_time()
    call()
    return (process_time() - started_s) * 1_000


def sort_ms(size: int) -> float:
    """Return the time of sorting as many numbers as there are entitlements."""
    numbers = [each.demand.kv_bytes for each in claims(size)]
    return median(time_ms(lambda: sorted(numbers)) for _ in range(RUNS))


def figure(name: str, size: int, value_ms: float) -> Figure:
    """Return a growth figure."""
    return Figure(f"{name}.{size}", value_ms, "ms", sort_ms(size), f"a sort of {size}")


def allocation_ms(size: int) -> float:
    """Return the time of one allocation in an overloaded pool."""
    wanting = claims(size)
    capacity = capacity_of(wanting)
    return median(
        time_ms(lambda: allocate(wanting, capacity=capacity, headroom_slots=2)) for _ in range(RUNS)
    )


def advance_ms(size: int) -> float:
    """Return the time of one tick, after two that raise the shares."""
    pool = crowded_pool(size)
    reports = whole_reports(pool, admitters=ADMITTERS)
    last, times = None, []
    for number in range(2 + TICKS):
        sources = tick_sources(pool, reports, number=number, last=last)
        started_s = process_time()
        outcome = advance(last, sources)
        times.append((process_time() - started_s) * 1_000)
        last = outcome.record
    return median(times[2:])


@pytest.mark.timeout(300)
def test_growth(figures: list[Figure]) -> None:
    allocation = [figure("allocation", size, allocation_ms(size)) for size in SIZES]
    ticks = [figure("tick.advance", size, advance_ms(size)) for size in SIZES]

    figures += [*allocation, *ticks]
    if find_spec("matplotlib"):
        draw(allocation, ticks)


def draw(allocation: list[Figure], ticks: list[Figure]) -> None:
    """Draw both growths and their ceiling."""
    from console.plots.curves import Curve
    from console.plots.pictures import growth

    BUILD.mkdir(exist_ok=True)
    for suffix in ("svg", "png"):
        growth(
            BUILD / f"allocation.{suffix}",
            [
                Curve(name=f"whole tick, {ADMITTERS} admitters", xs=SIZES, ys=_values(ticks)),
                Curve(name="allocation", xs=SIZES, ys=_values(allocation)),
                Curve(name="a bare sort", xs=SIZES, ys=[each.ceiling for each in allocation]),
            ],
            title="Time of one allocation and of one tick",
            x_label="entitlements",
            y_label="CPU time (ms)",
            limit=GOAL_MS,
            limit_name=f"goal: {GOAL_MS:.0f} ms",
            note=f"all classes in turn, two thirds of what is wanted; median, seed {SEED}",
        )


def _values(figures: list[Figure]) -> list[float]:
    return [each.value for each in figures]
