"""Lives: how the processes of one lane start, end as planned, and meet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.connections import KafkaOptions
from schemas.topics import STREAMS_APP
from streams.history.service import GROUP as HISTORY_GROUP
from tests.faults.fuse import Act, Fuse, Point
from tests.faults.groups import bury_members
from tests.faults.launch_history import READING, SABOTAGE
from tests.faults.plan import Life, Meeting, Pause
from tests.faults.processes import Child, environment
from tests.faults.tally import Tally
from tests.faults.waiting import AWAY, StuckError, until

GROUPS: Final = {"streams": STREAMS_APP, "history": HISTORY_GROUP}
READY: Final = {"streams": "event=partition_owned", "history": READING}
"""What a process logs when it has its partitions."""
READY_S_MAX: Final = 180.0
SESSION_S: Final = 9.0
"""Longer than a session."""
AWAKE_S: Final = 3.0
SESSION_PERCENT: Final = 10
"""Kills whose member is left in the group until its session ends."""
POINT_S_MAX: Final = 45.0
"""How long a process may take to come to its point before it is killed where it is."""
UNPLANNED_MAX: Final = 12
"""Ends in a row that nobody ordered (a broker that is away causes some), then a lane gives up."""
PAUSE_S: Final = 0.5


@dataclass
class Lives:
    """The processes of one lane, which are killed by their own id only."""

    seed: int
    options: KafkaOptions
    clickhouse_dsn: str
    folder: Path
    tally: Tally
    say: Callable[[str], None]
    sabotage: str = ""
    children: list[Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"lives {self.seed}")

    def end(self) -> None:
        """Kill everything that still runs."""
        for child in self.children:
            child.kill()

    async def live(self, kind: str, life: Life) -> None:
        """Start a process, and again while it ends by itself, until it was killed as planned."""
        for _ in range(UNPLANNED_MAX):
            child = self.start(kind, life)
            within_s = life.after_s if life.point is Point.RANDOM else POINT_S_MAX
            ended = await child.ended(within_s=within_s)
            if ended and not child.has_burnt:
                await self.mourn(child)
                continue
            if not ended:
                child.kill()
            self.tally.kills[kind, life.point.value if child.has_burnt else "random"] += 1
            await self.bury(kind)
            if child.has_burnt or life.point is Point.RANDOM:
                return
        raise StuckError(f"{kind} ends by itself again and again: {self.tally.unplanned[-1]}")

    def start(self, kind: str, life: Life | None = None, **fuse: str) -> Child:
        name = f"{kind}-{len(self.children) + 1}"
        about = Fuse()
        if life is not None and life.point is not Point.RANDOM:
            about = Fuse(
                point=life.point,
                passage=life.passage,
                act=Act(fuse.get("act", Act.KILL)),
                report=self.folder / f"{name}.burnt",
                about=fuse.get("about", ""),
            )
        environ = environment(self.options, clickhouse_dsn=self.clickhouse_dsn)
        if self.sabotage == "rows":
            environ[SABOTAGE] = self.sabotage
        child = Child.start(
            f"tests.faults.launch_{kind}",
            name=name,
            folder=self.folder,
            environ=environ,
            fuse=about,
        )
        self.children.append(child)
        self.tally.starts[f"{kind} {self.seed}"] += 1
        return child

    async def mourn(self, child: Child) -> None:
        self.tally.unplanned.append(f"seed {self.seed}: {child.last_words()}")
        self.say(self.tally.unplanned[-1][:300])
        await asyncio.sleep(PAUSE_S)

    async def bury(self, kind: str) -> None:
        """Take the dead out of the group at once, most of the time."""
        if self._rng.randrange(100) < SESSION_PERCENT:
            return
        try:
            await bury_members(self.options, GROUPS[kind])
        except AWAY:
            return  # the broker is away: the session ends by itself

    async def meet(self, kind: str, meeting: Meeting) -> None:
        """Let two share the partitions, then let one go; the other is killed in the end."""
        first = self.start(kind)
        await asyncio.sleep(meeting.joins_after_s)
        second = self.start(kind)
        for child in (first, second):
            await child.wrote(READY[kind], within_s=READY_S_MAX)
        await asyncio.sleep(meeting.together_s)
        goes, stays = (first, second) if meeting.first_goes else (second, first)
        if meeting.is_killed:
            self.tally.kills[kind, "beside_another"] += goes.kill()
        else:
            self.tally.other[f"{kind}: left in order"] += await goes.leave()
        await asyncio.sleep(meeting.together_s)
        self.tally.kills[kind, "random"] += stays.kill()
        self.tally.other[f"{kind}: joined another"] += 1
        await self.bury(kind)

    async def pause_history(self, pause: Pause) -> None:
        """Pause history past its session in mid-write, and wake it when another one has taken over.

        What it wrote twice is one row, and what it commits late the group refuses.
        """
        paused = self.start("history", Life(pause.point, pause.passage), act=Act.STOP.value)
        await until(
            lambda: self._has_stopped(paused), what="a paused history", within_s=READY_S_MAX
        )
        heir = self.start("history")
        await heir.wrote(READY["history"], within_s=READY_S_MAX)
        await asyncio.sleep(SESSION_S)
        paused.wake()
        await asyncio.sleep(AWAKE_S)
        self.tally.other["history: paused past its session and woken"] += 1
        self.tally.kills["history", "woken"] += paused.kill()
        self.tally.kills["history", "random"] += heir.kill()
        await self.bury("history")

    async def _has_stopped(self, paused: Child) -> bool:
        if not paused.is_running:
            raise StuckError(paused.last_words())
        return paused.has_burnt
