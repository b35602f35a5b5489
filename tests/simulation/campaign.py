"""Campaign: simulates many seeds, all laws judged at every step, on all cores.

    python -m tests.simulation.campaign --seeds 1000 --jobs 2
    python -m tests.simulation.campaign --story 17          # what happened in one seed

Progress goes to the error stream.  The last line is ``simulation: seeds=... steps=...
laws_broken=...``; for the first failures the seed, the law, a sentence and the story are printed,
and the exit status is 1.  Every ``TWICE_EVERY``-th seed runs twice: the same seed must give the
same bytes (law 9).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final

from schemas.units import US_PER_S
from simulation.laws.broken import Broken
from tests.simulation.cases import FAULTS, case_of
from tests.simulation.families import FAMILIES
from tests.simulation.judged import judge, story_of

TWICE_EVERY: Final = 50
TOLD_MAX: Final = 3
"""Failures whose story is told."""
STORY_LINES: Final = 60
PROGRESS_S: Final = 2.0
CHUNK: Final = 4


@dataclass(frozen=True)
class Choice:
    """What is not left to the seed."""

    faults: str = ""
    family: str = ""
    doors: int = 0


@dataclass(frozen=True)
class Found:
    """What one seed showed."""

    seed: int
    steps: int
    at_us: int
    broken: tuple[Broken, ...] = ()
    crash: str = ""
    """A traceback's last lines, when the product itself stopped."""

    @property
    def failed(self) -> bool:
        """Whether a law was broken or the product crashed."""
        return bool(self.broken or self.crash)


def try_seed(seed: int, choice: Choice) -> Found:
    """Run one seed; a crash of the product is a finding, not the end of the campaign."""
    case = case_of(seed, faults=choice.faults, family=choice.family, doors=choice.doors)
    try:
        judgement = judge(case)
        broken, steps = judgement.broken, judgement.steps
        if not broken and seed % TWICE_EVERY == 0:
            again = judge(case)
            steps += again.steps
            if again.digest != judgement.digest:
                broken = (Broken(9, "seed", "the same seed gave other bytes"),)
    except Exception:  # noqa: BLE001 - the entry point of a worker: what failed is reported
        return Found(seed, 0, 0, crash=traceback.format_exc(limit=-4))
    return Found(seed, steps, judgement.at_us, broken)


def campaign(seeds: Sequence[int], choice: Choice, *, jobs: int) -> Iterator[Found]:
    """Yield what each seed showed, in the order of the seeds."""
    task = partial(try_seed, choice=choice)
    if jobs <= 1:
        yield from map(task, seeds)
        return
    with closing(multiprocessing.get_context("spawn").Pool(jobs)) as pool:
        yield from pool.imap(task, seeds, chunksize=CHUNK)


def shown(found: Iterable[Found], *, seeds: int) -> Iterator[Found]:
    """Pass them on and show progress on the error stream."""
    began_s = said_s = time.monotonic()
    steps = broken = 0
    for number, each in enumerate(found, start=1):
        steps, broken = steps + each.steps, broken + each.failed
        now_s = time.monotonic()
        if now_s - said_s >= PROGRESS_S or number == seeds:
            said_s = now_s
            rate = int(steps / max(0.001, now_s - began_s))
            print(
                f"simulation: {number}/{seeds} seeds, {steps:,} steps, {rate:,} steps/s, "
                f"{broken} failed",
                file=sys.stderr,
                flush=True,
            )
        yield each


def tell(found: Found, choice: Choice) -> None:
    """Print one failure and its story."""
    case = case_of(found.seed, faults=choice.faults, family=choice.family, doors=choice.doors)
    print(f"\n{case}")
    for each in found.broken:
        print(f"  at {found.at_us / US_PER_S:.6f} s, step {found.steps}: {each}")
    if found.crash:
        print(found.crash)
        return
    for line in story_of(case).lines()[-STORY_LINES:]:
        print(f"  {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    options = _options(arguments)
    choice = Choice(options.faults, options.family, options.doors)
    if options.story is not None:
        case = case_of(
            options.story, faults=choice.faults, family=choice.family, doors=choice.doors
        )
        print(case)
        print(story_of(case))
        return 0
    seeds = range(options.first, options.first + options.seeds)
    found = list(shown(campaign(seeds, choice, jobs=options.jobs), seeds=len(seeds)))
    failures = [each for each in found if each.failed]
    for each in failures[:TOLD_MAX]:
        tell(each, choice)
    if len(failures) > TOLD_MAX:
        print(f"\nmore failures: seeds {[each.seed for each in failures[TOLD_MAX:]]}")
    steps = sum(each.steps for each in found)
    print(f"simulation: seeds={len(found)} steps={steps} laws_broken={len(failures)}")
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.campaign")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--faults", choices=["", *FAULTS], default="", help="instead of drawn")
    parser.add_argument("--family", choices=["", *FAMILIES], default="", help="instead of drawn")
    parser.add_argument("--doors", type=int, default=0, help="admitters, instead of drawn")
    parser.add_argument("--story", type=int, default=None, help="tell this seed's story")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
