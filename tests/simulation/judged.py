"""Judged: one case run with the law book open; it ends at the first law that is broken."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from schemas.units import US_PER_S
from schemas.wire import encode
from simulation.laws.book import LawBook
from simulation.laws.broken import Broken
from simulation.laws.watch import Watched
from simulation.pools.tokenpools import TokenPools
from simulation.world.story import Story, Tell
from simulation.world.world import World
from tests.simulation.cases import Case

SETTLING_US: Final = 30 * US_PER_S
"""How much longer the processes go on, until every usage event was folded in."""


@dataclass(frozen=True)
class Judgement:
    """What became of a case."""

    case: Case
    steps: int
    at_us: int
    broken: tuple[Broken, ...]
    """Those of the step in which the first one was."""
    ended: bool
    """Every step was lawful; what is broken then was seen in the end's sums."""
    digest: str
    """Of every tick and total: two runs of one case have the same."""
    requests: int
    admitted: int


@dataclass
class _Run:
    """A case under way."""

    case: Case
    tell: Tell | None
    broken: tuple[Broken, ...] = ()
    ended: bool = False
    steps: int = 0
    book: LawBook = field(init=False)
    pools: TokenPools = field(init=False)
    world: World = field(init=False)

    def __post_init__(self) -> None:
        pool = self.case.scenario.pool
        self.pools = TokenPools(
            pool,
            seed=str(self.case.seed),
            doors=self.case.doors,
            faults=self.case.faults,
            tell=self.tell,
        )
        self.book = LawBook(pool, self.pools)
        watched = Watched(self.pools, self.book)
        self.world = World(self.case.scenario, watched, on_step=self.after, tell=self.tell)

    def after(self, now_us: int) -> None:
        """Judge a step."""
        self.steps += 1
        self.broken = self.book.check(now_us)

    def judge(self, stop_us: int | None) -> int:
        """Run until a law is broken or all is over; return when.  Past ``stop_us`` leave it."""
        while not self.broken and self.world.step():
            if stop_us is not None and self.world.now_us > stop_us:
                return self.world.now_us
        now_us = self.world.now_us
        until_us = now_us + SETTLING_US
        while not self.broken and now_us < until_us and not self._is_folded():
            now_us = max(now_us, self.pools.next_event_us() or until_us)
            self.pools.advance(now_us=now_us)
            self.after(now_us)
        self.ended = not self.broken
        self.broken = self.broken or self.book.close(now_us)
        return now_us

    def _is_folded(self) -> bool:
        owner, log = self.pools.owner, self.pools.log
        return (
            owner is not None
            and log.on_their_way == 0
            and all(
                each.folded_through + 1 == log.length(each.place.partition)
                for each in owner.ledgers
            )
        )


def judge(case: Case, *, tell: Tell | None = None, until_us: int | None = None) -> Judgement:
    """Run a case and return what was found, until a moment or to its end."""
    run = _Run(case, tell)
    at_us = run.judge(until_us)
    tallies = run.world.measures.tallies.values()
    return Judgement(
        case=case,
        steps=run.steps,
        at_us=at_us,
        broken=run.broken,
        ended=run.ended,
        digest=_digest(run.pools),
        requests=sum(tally.requests for tally in tallies),
        admitted=sum(tally.admitted for tally in tallies),
    )


def story_of(case: Case) -> Story:
    """Run a case again and return its last lines."""
    story = Story(seed=case.seed)
    judge(case, tell=story.tell)
    return story


def _digest(pools: TokenPools) -> str:
    digest = sha256()
    for outcome in pools.ticks:
        digest.update(encode(outcome.record))
    totals = {} if pools.ledger is None else pools.ledger
    for uid in sorted(totals):
        digest.update(encode(totals[uid]))
    return digest.hexdigest()
