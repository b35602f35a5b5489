"""A lane: one seed with topics, groups and a database of its own on the campaign's servers.

Streams and history live and die by the lane's plan while its generator emits; in the end both run
undisturbed until everything is settled, and the oracle compares.  Many lanes run side by side,
because most of a restart is waiting.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer

from deploy.local.provision import provision
from schemas.connections import KafkaOptions
from schemas.partitioning import partition_of
from schemas.topics import POOLS as POOLS_TOPIC
from schemas.wire import encode
from streams.changelog import read_totals
from streams.kafka import client_kwargs
from tests.faults import observed
from tests.faults.account import Account
from tests.faults.compaction import compact, records_of
from tests.faults.fuse import Act, Point
from tests.faults.generator import Generator
from tests.faults.lives import READY, READY_S_MAX, Lives
from tests.faults.mill import IDLE_POOL, POOLS, Mill
from tests.faults.oracle import Judgement, judge
from tests.faults.plan import Life, Meeting, Pause, Plan, StreamsStep, Zombie
from tests.faults.processes import Child
from tests.faults.servers import Servers
from tests.faults.specs import pool_record
from tests.faults.tally import Tally
from tests.faults.waiting import StuckError, until

PARTITIONS: Final = 4
STEP_S_MAX: Final = 180.0
ZOMBIE_S_MAX: Final = 30.0
SETTLED_S_MAX: Final = 900.0
STILL_S_MAX: Final = 120.0
"""How long nothing may move while a lane settles."""
WINDOWS_S_MAX: Final = 60.0


@dataclass(frozen=True)
class Outcome:
    """What the oracle said of a lane."""

    seed: int
    events: int
    judgement: Judgement


@dataclass
class Lane:
    """One seed."""

    seed: int
    plan: Plan
    servers: Servers
    folder: Path
    tally: Tally
    calm: asyncio.Lock
    """Held by who must not be disturbed by a fault of the broker."""
    say: Callable[[str], None]
    sabotage: str = ""
    records_per_burst: int = 40
    burst_pause_s: float = 0.15

    def __post_init__(self) -> None:
        self.name = f"faults{self.seed}"
        self.options = KafkaOptions(
            bootstrap=self.servers.broker.bootstrap_servers,
            topic_prefix=f"{self.name}-",
            group_prefix=f"{self.name}-",
            partitions=PARTITIONS,
        )
        self.lives = Lives(
            seed=self.seed,
            options=self.options,
            clickhouse_dsn=self.servers.database.server.dsn(self.name),
            folder=self.folder,
            tally=self.tally,
            say=self.say,
            sabotage=self.sabotage,
        )
        self.generator = Generator(
            self.options, Mill(random.Random(f"mill {self.seed}"), Account())
        )

    # --- the whole -------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Live through the plan and return what the oracle says."""
        self.folder.mkdir(parents=True)
        await self._provision()
        stop = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    self.generator.run(
                        stop, records=self.records_per_burst, pause_s=self.burst_pause_s
                    )
                )
                async with asyncio.TaskGroup() as processes:
                    processes.create_task(self._live_streams())
                    processes.create_task(self._live_history())
                stop.set()
            return await self._judge()
        finally:
            self.lives.end()
            await self.generator.close()

    async def _provision(self) -> None:
        await self.servers.database.execute(f"CREATE DATABASE {self.name}")
        await provision(self.options, client=client_kwargs(self.options))
        async with AIOKafkaProducer(**client_kwargs(self.options), acks="all") as producer:
            for name in (*POOLS, IDLE_POOL):
                await producer.send_and_wait(
                    self.options.topic(POOLS_TOPIC),
                    encode(pool_record(name)),
                    key=name.encode(),
                    partition=partition_of(name, PARTITIONS),
                )

    # --- lives -----------------------------------------------------------------------------------

    async def _live_streams(self) -> None:
        for number, step in enumerate(self.plan.streams, start=1):
            self.say(f"seed {self.seed}: streams {number}/{len(self.plan.streams)} {step}")
            await self._step(step)

    async def _step(self, step: StreamsStep) -> None:
        match step:
            case Life():
                await self.lives.live("streams", step)
            case Meeting():
                await self.lives.meet("streams", step)
            case Zombie():
                async with self.calm:
                    await self._pause_and_wake()

    async def _live_history(self) -> None:
        for number, step in enumerate(self.plan.history, start=1):
            self.say(f"seed {self.seed}: history {number}/{len(self.plan.history)} {step}")
            match step:
                case Life():
                    await self.lives.live("history", step)
                case Meeting():
                    await self.lives.meet("history", step)
                case Pause():
                    await self.lives.pause_history(step)

    async def _pause_and_wake(self) -> None:
        """Pause a worker past its session with a write on its way, wake it, compact, go on."""
        zombie = self.lives.start(
            "streams",
            Life(Point.AFTER_VERDICTS),
            act=Act.STOP.value,
            about=f"t|{IDLE_POOL}|",
        )
        await until(lambda: self._idle_until(zombie), what="a paused worker", within_s=STEP_S_MAX)
        heir = self.lives.start("streams")
        await heir.wrote(READY["streams"], within_s=READY_S_MAX)
        await self.generator.send_to(IDLE_POOL, 20)
        await until(self._idle_is_counted, what="the heir counts", within_s=STEP_S_MAX, poll_s=1.0)
        before = await self._idle_writes()
        zombie.wake()
        landed = await self._lands(before)
        self.tally.other["streams: paused past its session and woken"] += 1
        self.tally.other["streams: late writes of a former owner that landed"] += landed
        self.tally.kills["streams", "woken"] += zombie.kill()
        self.tally.kills["streams", "random"] += heir.kill()
        await self.lives.bury("streams")
        removed = await compact(self.options)
        self.tally.other["compactions forced"] += 1
        self.tally.other["changelog records compacted away"] += removed

    async def _idle_until(self, zombie: Child) -> bool:
        """Feed the idle pool until the worker has stopped itself before the write about it."""
        if not zombie.is_running:
            raise StuckError(zombie.last_words())
        if zombie.has_burnt:
            return True
        await self.generator.send_to(IDLE_POOL, 4)
        return False

    async def _idle_is_counted(self) -> bool:
        wanted = self.generator.mill.account.sums()
        totals = await read_totals(self.options)
        return all(
            (found := totals.get(owner)) is not None and found.events == sums.events
            for owner, sums in wanted.items()
            if owner[0] == IDLE_POOL
        )

    async def _idle_writes(self) -> int:
        """Return the last offset at which the changelog holds something of the idle pool."""
        key = f"t|{IDLE_POOL}|".encode()
        offsets = [
            each.offset
            for each in await records_of(self.options)
            if each.key is not None and each.key.startswith(key) and each.value is not None
        ]
        return max(offsets, default=-1)

    async def _lands(self, before: int) -> bool:
        """Wait for the late write to be in the changelog; False when it never comes."""

        async def landed() -> bool:
            return await self._idle_writes() > before

        try:
            await until(landed, what="a late write", within_s=ZOMBIE_S_MAX, poll_s=0.5)
        except StuckError:
            return False
        return True

    # --- the end ---------------------------------------------------------------------------------

    async def _judge(self) -> Outcome:
        """Let both run undisturbed until everything is settled, then compare."""
        await self.generator.send_to(IDLE_POOL, 20)
        if self.sabotage == "event":
            self.generator.mill.for_pool(POOLS[0], 1, now_us=1)
        keepers = [asyncio.create_task(self._keep(kind)) for kind in ("streams", "history")]
        try:
            await self._settled()
            found = await observed.found_in(self.options, self.servers.database, self.name)
            log = await observed.log_of(self.options)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
        account = self.generator.mill.account
        return Outcome(self.seed, len(log), judge(account, log, found, partitions=PARTITIONS))

    async def _keep(self, kind: str) -> None:
        """Keep a process running."""
        while True:
            child = self.lives.start(kind)
            while not await child.ended(within_s=60.0):
                continue
            await self.lives.mourn(child)

    async def _settled(self) -> None:
        """Wait for the ledger, history and the windows, for as long as they go on."""
        database = self.servers.database

        async def ledger() -> dict[int, int]:
            return await observed.ledger_reach(self.options)

        async def history() -> dict[int, int]:
            return await observed.history_reach(database, self.name)

        async def windows() -> bool:
            return await observed.windows_agree(database, self.name)

        for what, reach in (("the ledger", ledger), ("history", history)):
            self.say(f"seed {self.seed}: waiting for {what}")
            await until(
                self._at_end(reach),
                what=f"{what} at the log's end",
                within_s=SETTLED_S_MAX,
                poll_s=1.0,
            )
        self.say(f"seed {self.seed}: waiting for the windows")
        try:
            await until(windows, what="windows", within_s=WINDOWS_S_MAX, poll_s=1.0)
        except StuckError:
            return  # the oracle says which

    def _at_end(
        self, reach: Callable[[], Awaitable[dict[int, int]]]
    ) -> Callable[[], Awaitable[bool]]:
        """Return what says whether the log's end is reached; it fails when nothing moves."""
        last: dict[int, int] = {}
        moved_s = time.monotonic()

        async def reached() -> bool:
            nonlocal last, moved_s
            now = await reach()
            if now != last:
                last, moved_s = now, time.monotonic()
            elif time.monotonic() - moved_s > STILL_S_MAX:
                raise StuckError(f"seed {self.seed}: nothing moved beyond {now}")
            return now == await observed.ends_of(self.options)

        return reached


def events_of(outcomes: Sequence[Outcome]) -> int:
    """Return how many events were read in all lanes, copies included."""
    return sum(each.events for each in outcomes)
