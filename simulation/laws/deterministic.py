"""Law 9: a published tick replays to its outputs, and a log to its ledger, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from schemas.pools import Pool
from schemas.ticks import Tick
from schemas.wire import encode
from simulation.laws.broken import Broken
from simulation.pools.owner import Owner
from simulation.pools.usage_log import UsageLog
from streams.core import ledger, policy
from streams.core.outcome import States, apply

BATCH: Final = 7
"""Records of one fold when a log is replayed: another number than any owner read at once."""


def check_replay(pool: Pool, tick: Tick) -> Iterator[Broken]:
    """Yield a tick whose outputs do not follow from its inputs."""
    if policy.replay(pool, tick) != tick.outputs:
        yield Broken(9, "tick", f"tick {tick.version} replays to other outputs")


def check_ledger(pool: Pool, log: UsageLog, owner: Owner) -> Iterator[Broken]:
    """Yield a ledger that its log, folded again from the beginning, does not give."""
    partition = log.home
    through, states = owner.home.folded_through, States()
    records = log.read(partition, after=-1, now_us=0, most=through + 1)
    for start in range(0, len(records), BATCH):
        outcome = ledger.fold(
            states,
            records[start : start + BATCH],
            specs={pool.name: pool},
            place=owner.home.place,
        )
        apply(states, outcome)
    again = [encode(states.totals[key].totals) for key in sorted(states.totals)]
    totals = owner.home.states.totals
    if again != [encode(totals[key].totals) for key in sorted(totals)]:
        yield Broken(9, "ledger", f"the log through offset {through} folds to other totals")
