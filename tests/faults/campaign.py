"""The campaign: lanes side by side on two servers, and the servers' own faults over all of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.lane import Lane, Outcome, events_of
from tests.faults.plan import plan_of
from tests.faults.servers import START_S_MAX, Servers, servers
from tests.faults.tally import Tally

SAID_EVERY_S = 20.0
BROKER_AWAY_S_MAX = 4.0


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    seeds: tuple[int, ...]
    kills: int
    """Planned ones, over all seeds."""
    lanes: int
    """Seeds that run at once."""
    meetings: int
    """Of two workers, in each lane."""
    zombies: int
    """In each lane."""
    each_point: int
    """How often each named point must have been hit."""
    broker_every_s: tuple[float, float]
    broker_faults_max: int
    database_every_s: tuple[float, float]
    database_away_s: tuple[float, ...]
    """One outage for each, in turn; every second one is a kill."""


@dataclass
class Campaign:
    """One run."""

    scale: Scale
    folder: Path
    say: Callable[[str], None]
    sabotage: str = ""
    tally: Tally = field(default_factory=Tally)
    calm: asyncio.Lock = field(default_factory=asyncio.Lock)
    outcomes: list[Outcome] = field(default_factory=list)

    async def run(self) -> list[Outcome]:
        """Run all seeds; return what the oracle said of each."""
        async with (
            servers(self.folder / "servers") as running,
            asyncio.TaskGroup() as group,
        ):
            faults = [
                group.create_task(self._fault_broker(running)),
                group.create_task(self._fault_database(running)),
                group.create_task(self._progress()),
            ]
            await self._lanes(running)
            for each in faults:
                each.cancel()
        return self.outcomes

    async def _lanes(self, running: Servers) -> None:
        places = asyncio.Semaphore(self.scale.lanes)
        async with asyncio.TaskGroup() as group:
            for seed in self.scale.seeds:
                group.create_task(self._lane(seed, running, places))

    async def _lane(self, seed: int, running: Servers, places: asyncio.Semaphore) -> None:
        kills = -(-self.scale.kills // len(self.scale.seeds))
        plan = plan_of(
            random.Random(f"plan {seed}"),
            kills=kills,
            meetings=self.scale.meetings,
            zombies=self.scale.zombies,
        )
        async with places:
            lane = Lane(
                seed=seed,
                plan=plan,
                servers=running,
                folder=self.folder / f"seed-{seed}",
                tally=self.tally,
                calm=self.calm,
                say=self.say,
                sabotage=self.sabotage,
            )
            outcome = await lane.run()
        self.outcomes.append(outcome)
        self.say(f"seed {seed}: events={outcome.events} drift={outcome.judgement.drift}")

    # --- the servers' faults ---------------------------------------------------------------------

    async def _fault_broker(self, running: Servers) -> None:
        """Stop the broker in order, or kill it, and start it again on the same directory."""
        rng = random.Random(f"broker {self.scale.seeds[0]}")
        for number in range(self.scale.broker_faults_max):
            await asyncio.sleep(rng.uniform(*self.scale.broker_every_s))
            async with self.calm:
                kills = number % 2 == 0
                began_s = time.monotonic()
                await asyncio.to_thread(running.broker.kill if kills else running.broker.stop)
                ended_s = time.monotonic()
                await asyncio.sleep(rng.uniform(0.0, BROKER_AWAY_S_MAX))
                await asyncio.to_thread(running.broker.start, START_S_MAX)
                self.say(
                    f"broker: {'killed' if kills else 'stopped'} in {ended_s - began_s:.1f} s, "
                    f"back after {time.monotonic() - began_s:.1f} s"
                )
            if kills:
                self.tally.kills["broker", "random"] += 1
            else:
                self.tally.other["broker stopped and started"] += 1

    async def _fault_database(self, running: Servers) -> None:
        """Take ClickHouse away for a while."""
        rng = random.Random(f"database {self.scale.seeds[0]}")
        for number, away_s in enumerate(self.scale.database_away_s):
            await asyncio.sleep(rng.uniform(*self.scale.database_every_s))
            kills = number % 2 == 1
            self.say(f"clickhouse: {'killed' if kills else 'stopped'} for {away_s:.0f} s")
            await asyncio.to_thread(running.database.kill if kills else running.database.stop)
            await asyncio.sleep(away_s)
            await asyncio.to_thread(running.database.start)
            if kills:
                self.tally.kills["clickhouse", "random"] += 1
            else:
                self.tally.other["clickhouse stopped and started"] += 1

    async def _progress(self) -> None:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(SAID_EVERY_S)
            self.say(
                f"{time.monotonic() - began_s:.0f} s: kills={self.tally.kill_count} "
                f"restarts={self.tally.restart_count}"
            )

    def last_line(self) -> str:
        """Return the line that a run ends with; what was not judged has no known drift."""
        drift: int | str = sum(each.judgement.drift for each in self.outcomes)
        if len(self.outcomes) < len(self.scale.seeds):
            drift = "unknown"
        return (
            f"faults: kills={self.tally.kill_count} restarts={self.tally.restart_count} "
            f"events={events_of(self.outcomes)} drift={drift}"
        )
