"""Work: a fold under way, and the desks at which its events are counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.partitioning import partition_of
from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.usage import UsageEvent
from schemas.verdicts import Verdict, VerdictKind
from streams.core.judge import Bench
from streams.core.memory import Memory
from streams.core.outcome import Forward, States
from streams.core.tally import Desk


@dataclass
class Work:
    """A fold under way."""

    bench: Bench
    states: States
    memory: Memory
    begun: Position | None
    judged_offset: int
    """Events at or below it were folded or judged before: they go to the judge."""
    clock_us: int
    desks: dict[str, Desk] = field(default_factory=dict)
    """Of specified pools that are at home here, by name."""
    strangers: dict[str, Desk] = field(default_factory=dict)
    """Of the others: what was published as accepted stays so, whatever became of its pool."""
    verdicts: list[Verdict] = field(default_factory=list)
    orders: list[Rollup] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    counts: dict[VerdictKind, int] = field(default_factory=dict)
    accepted: int = 0
    event_us_max: int = 0
    skipped: int = 0
    last_place: int = -1
    """Where the last event stands that was read; -1: none was."""
    last_stored_us: int = 0


def home_desk(work: Work, name: str) -> Desk | None:
    """Return the desk of a specified pool that is at home in this partition."""
    pool = work.bench.specs.get(name)
    if pool is None or partition_of(name, work.bench.partitions) != work.bench.partition:
        return None
    desk = work.desks[name] = Desk(name, pool)
    return desk


def any_desk(work: Work, event: UsageEvent) -> Desk:
    """Return the desk of the event's pool, whether or not it is specified."""
    name = event.data.pool
    desk = work.desks.get(name) or work.strangers.get(name) or home_desk(work, name)
    if desk is None:
        desk = work.strangers[name] = Desk(name, work.bench.specs.get(name))
    return desk
