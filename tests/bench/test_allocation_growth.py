"""How long does the allocator take from 10 to 10,000 entitlements?  Draws the growth.

The plot goes to the folder that ``TOKENPOOLS_BENCH_OUT`` names, else to a temporary one.  Times are
CPU times of this process: the median and the best of several runs, all in one overloaded pool.
"""

import os
import random
from pathlib import Path
from statistics import median
from time import process_time

import pytest

from console.plots.curves import Curve
from console.plots.pictures import growth
from schemas.specs import ServiceClass
from schemas.units import Resources
from streams.core.allocation import Claim, allocate

SIZES = (10, 100, 1_000, 10_000)
RUNS = 9
LIMIT_MS = 50.0
CLASSES = tuple(ServiceClass)
SEED = 5


def claims(size: int) -> list[Claim]:
    """Entitlements of every class in turn, that want half more than there is."""
    rng = random.Random(f"{SEED}/{size}")
    return [claim(number, rng) for number in range(size)]


def claim(number: int, rng: random.Random) -> Claim:
    service_class = CLASSES[number % len(CLASSES)]
    has_baseline = service_class not in (ServiceClass.SPOT, ServiceClass.PREEMPTIBLE)
    slots = rng.randint(1, 40)
    baseline = Resources(100 * slots, 1_000_000 * slots, slots) if has_baseline else Resources()
    wanted = rng.randint(0, 80)
    return Claim(
        uid=f"e{number:05d}",
        service_class=service_class,
        weight_ppm=rng.randint(100_000, 3_000_000),
        demand=Resources(rng.randint(50, 150) * wanted, 1_000_000 * wanted, wanted),
        baseline=baseline,
        ceiling=Resources(8_000, 80_000_000, 80),
        lendable=baseline,
    )


def capacity_for(wanting: list[Claim]) -> Resources:
    """Two thirds of what is wanted."""
    return Resources(
        sum(each.demand.tokens_per_s for each in wanting) * 2 // 3,
        sum(each.demand.kv_bytes for each in wanting) * 2 // 3,
        sum(each.demand.slots for each in wanting) * 2 // 3,
    )


def times_ms(size: int) -> list[float]:
    """CPU time of each run, in milliseconds."""
    wanting = claims(size)
    capacity = capacity_for(wanting)
    found = []
    for _ in range(RUNS):
        started_s = process_time()
        allocate(wanting, capacity=capacity, headroom_slots=2)
        found.append((process_time() - started_s) * 1_000)
    return found


def test_ten_thousand_entitlements_are_allocated_within_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = {size: times_ms(size) for size in SIZES}
    medians = tuple(median(times) for times in measured.values())
    best = tuple(min(times) for times in measured.values())
    path = Path(os.environ.get("TOKENPOOLS_BENCH_OUT") or tmp_path) / "allocation-growth.png"
    growth(
        path,
        [Curve(name="median", xs=SIZES, ys=medians), Curve(name="best", xs=SIZES, ys=best)],
        title="Time of one allocation",
        x_label="entitlements",
        y_label="CPU time (ms)",
        limit=LIMIT_MS,
        limit_name=f"{LIMIT_MS:.0f} ms",
        note=f"all classes in turn, two thirds of what is wanted; {RUNS} runs, seed {SEED}",
    )
    with capsys.disabled():
        print()
        for size, low, middle in zip(SIZES, best, medians, strict=True):
            print(f"{size:>6} entitlements: {middle:8.3f} ms median, {low:8.3f} ms best")
        print(f"plot: {path}")

    assert best[-1] < LIMIT_MS
