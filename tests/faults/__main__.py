"""Fault campaign: real servers and processes, killed at random and at named points.

    python -m tests.faults                       # the long one: at least 200 kills
    python -m tests.faults --short               # less than two minutes
    python -m tests.faults --seed 7 --seeds 1    # one seed again
    python -m tests.faults --self-check          # it must find lost rows and a lost event

Progress goes to the error stream, and logs to a folder that is kept when something failed.  The
last line is ``faults: kills=... restarts=... events=... drift=...``; the exit status is 0 when the
drift is 0 and every named point was hit as often as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.faults.campaign import Campaign, Scale

TOLD_MAX: Final = 20
"""Differences that are shown of each seed."""

LONG: Final = Scale(
    seeds=(1, 2, 3),
    kills=204,
    lanes=3,
    meetings=2,
    zombies=1,
    each_point=10,
    broker_every_s=(60.0, 120.0),
    broker_faults_max=4,
    database_every_s=(20.0, 60.0),
    database_away_s=(60.0, 5.0, 10.0, 20.0),
)
SHORT: Final = Scale(
    seeds=(1, 2),
    kills=16,
    lanes=2,
    meetings=0,
    zombies=0,
    each_point=1,
    broker_every_s=(10.0, 15.0),
    broker_faults_max=1,
    database_every_s=(2.0, 6.0),
    database_away_s=(3.0,),
)
QUIET: Final = replace(
    SHORT, seeds=(1,), kills=0, each_point=0, broker_faults_max=0, database_away_s=()
)
"""For the check of itself: nothing is killed, so that only the sabotage can make a difference."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    options = _options(arguments)
    if options.self_check:
        return 0 if all(_finds(sabotage) for sabotage in ("event", "rows")) else 1
    scale = _scale(options)
    return _run(scale)


def _run(scale: Scale, *, sabotage: str = "") -> int:
    # Told to end, it cleans up as after Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="tokenpools-faults-"))
    campaign = Campaign(scale, folder, say=_say, sabotage=sabotage)
    try:
        asyncio.run(campaign.run())
        status = _tell(campaign)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except Exception:  # noqa: BLE001 - the entry point: what a campaign died of is told
        traceback.print_exc()
        _tell(campaign)
        status = 1
    if status:
        print(f"logs are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    print(campaign.last_line(), flush=True)
    return status


def _tell(campaign: Campaign) -> int:
    """Print the table, the seeds and what differs; return the exit status."""
    print("\n".join(campaign.tally.lines()))
    print(f"seeds: {', '.join(map(str, campaign.scale.seeds))}")
    print(f"ends that nobody ordered: {len(campaign.tally.unplanned)}")
    missed = campaign.tally.missed(at_least=campaign.scale.each_point)
    for line in missed:
        print(f"hit too seldom: {line}")
    drifted = False
    for outcome in campaign.outcomes:
        drifted |= bool(outcome.judgement.drift)
        for line in outcome.judgement.differences[:TOLD_MAX]:
            print(f"seed {outcome.seed}: {line}")
    return 1 if missed or drifted else 0


def _finds(sabotage: str) -> bool:
    """Lose something on purpose, and say whether the campaign noticed."""
    found = _run(QUIET, sabotage=sabotage) == 1
    print(f"self-check: lost {sabotage}: {'found' if found else 'NOT FOUND'}")
    return found


def _scale(options: argparse.Namespace) -> Scale:
    scale = SHORT if options.short else LONG
    number = options.seeds or len(scale.seeds)
    scale = replace(
        scale,
        seeds=tuple(range(options.seed, options.seed + number)),
        kills=scale.kills if options.kills is None else options.kills,
        lanes=options.lanes or scale.lanes,
    )
    return scale if options.kills is None else replace(scale, each_point=0)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--short", action="store_true", help="less than two minutes")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=0, help="how many")
    parser.add_argument("--kills", type=int, default=None, help="planned ones, over all seeds")
    parser.add_argument("--lanes", type=int, default=0, help="seeds that run side by side")
    parser.add_argument("--self-check", action="store_true", help="lose something, and find it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
