"""Group: who owns the pool's partition?  Takeovers, crashes, and former owners that wake.

One worker owns at a time; when it ends, or is silent for ``session_ms``, the next generation takes
over from what is durable.  A former owner that stood still does not know: when it wakes it goes on
for a while, under its old generation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from schemas.pools import Pool
from schemas.units import US_PER_MS, US_PER_S
from simulation.pools.agenda import Agenda
from simulation.pools.clocks import BEFORE_ALL_US, drawn
from simulation.pools.faults import Faults, Stage, TimedFault
from simulation.pools.owner import CrashedError, Durable, Owner
from simulation.pools.wire import Reader, Topic
from simulation.world.story import Tell

POLLS_PER_TICK: Final = 2


@dataclass
class Worker:
    """One owner's process: present, or a former one that does not know."""

    owner: Owner
    reader: Reader
    paused_until_us: int = BEFORE_ALL_US
    replaced: bool = False
    ends_us: int | None = None
    """When a woken former owner learns that it was replaced."""
    ended: bool = False
    beats: int = 0
    restart_us: int = 0
    """How long after its crash another one takes over."""


@dataclass
class Group:
    """The workers of the pool's partition."""

    durable: Durable
    reports: Topic
    agenda: Agenda
    faults: Faults
    random: Random
    tell: Tell
    workers: list[Worker] = field(default_factory=list)
    """Those that have not ended; the last one is the present owner, if ``current`` is not None."""
    generation: int = 0
    crashes: int = 0

    @property
    def current(self) -> Worker | None:
        """The present owner's process; None between a crash and the takeover."""
        for worker in reversed(self.workers):
            if not worker.replaced and not worker.ended:
                return worker
        return None

    def take_over(self, now_us: int) -> None:
        """Let the next generation begin from what is durable."""
        for former in self.workers:
            former.replaced = True
        self.generation += 1
        clock = drawn(
            self.random,
            drift_ppm_max=self.faults.clock_drift_ppm_max,
            skew_ms_max=self.faults.clock_skew_ms_max,
        )
        owner = Owner(self.generation, self.durable, clock)
        worker = Worker(owner, Reader(owner.name, owner.hear))
        self.workers.append(worker)
        self.reports.join(worker.reader, now_us=now_us, from_beginning=False)
        version = "nothing stored" if owner.record is None else f"last v{owner.record.version}"
        folded = owner.home.folded_through
        self.tell(now_us, owner.name, "takeover", f"{version}, folded through {folded}")
        self.agenda.at(now_us, partial(self._beat, worker))

    def crash(self, fault: TimedFault, now_us: int) -> bool:
        """Let the owner crash, now or where the fault says; say whether there is one to crash."""
        worker = self.current
        if worker is None or worker.owner.doomed is not None:
            return False
        worker.owner.doomed, worker.restart_us = fault.stage, fault.lasts_us
        if fault.stage is Stage.AT_ONCE:
            self._end(worker, now_us, "crash")
        return True

    def pause(self, fault: TimedFault, now_us: int) -> bool:
        """Let the owner stand still; say whether there is one."""
        worker = self.current
        if worker is None or worker.paused_until_us > now_us:
            return False
        worker.paused_until_us = now_us + fault.lasts_us
        worker.reader.cut_off(worker.paused_until_us)
        session_us = self.faults.session_ms * US_PER_MS
        if fault.lasts_us > session_us:
            self.agenda.at(now_us + session_us, partial(self._lose, worker))
        return True

    def follow_spec(self, pool: Pool, now_us: int) -> None:
        """Let every worker that runs know another spec; one that stands still reads it later."""
        for worker in self.workers:
            if worker.paused_until_us > now_us:
                self.agenda.at(worker.paused_until_us, partial(self._know, worker, pool))
            else:
                self._know(worker, pool, now_us)

    def _know(self, worker: Worker, pool: Pool, now_us: int) -> None:
        if pool.version > worker.owner.pool.version:
            worker.owner.pool = pool
            self.tell(now_us, worker.owner.name, "spec", f"version {pool.version}")

    def _lose(self, worker: Worker, now_us: int) -> None:
        """Replace a silent owner."""
        if self.current is worker and worker.paused_until_us > now_us:
            self.take_over(now_us)

    def _beat(self, worker: Worker, now_us: int) -> None:
        """Poll; tick every second time."""
        if worker.ended:
            return
        if now_us < worker.paused_until_us:
            self.agenda.at(worker.paused_until_us, partial(self._beat, worker))
            return
        if worker.replaced and self._has_learned(worker, now_us):
            return
        try:
            worker.owner.poll(now_us)
            if worker.beats % POLLS_PER_TICK == 0:
                self._tick(worker, now_us)
        except CrashedError as crashed:
            self._end(worker, now_us, f"crash {crashed}")
            return
        worker.beats += 1
        tick_us = self.durable.pool.policy.tick_ms * US_PER_MS
        self.agenda.at(now_us + tick_us // POLLS_PER_TICK, partial(self._beat, worker))

    def _tick(self, worker: Worker, now_us: int) -> None:
        outcome = worker.owner.tick(now_us)
        if outcome.publish:
            alive = sum(each.alive for each in outcome.record.admitters)
            former = "  (former owner)" if worker.replaced else ""
            self.tell(
                now_us,
                worker.owner.name,
                "state",
                f"v{outcome.record.version} capacity {outcome.tick.capacity.slots} slots, "
                f"{alive} admitters{former}",
            )

    def _has_learned(self, worker: Worker, now_us: int) -> bool:
        """Say whether a former owner ends now; it begins to wake here."""
        if worker.ends_us is None:
            left_us = self.random.randint(0, self.faults.zombie_ms_max) * US_PER_MS
            worker.ends_us = now_us + left_us
            detail = f"goes on for {left_us / US_PER_S:.2f} s"
            self.tell(now_us, worker.owner.name, "former owner wakes", detail)
        if now_us <= worker.ends_us:
            return False
        self._bury(worker)
        self.tell(now_us, worker.owner.name, "former owner ends", "")
        return True

    def _end(self, worker: Worker, now_us: int, how: str) -> None:
        """End a process; if it owned, another one takes over after a while."""
        was_current = self.current is worker
        self._bury(worker)
        self.crashes += 1
        self.tell(now_us, worker.owner.name, how, "")
        if was_current:
            self.agenda.at(now_us + worker.restart_us, self._replace)

    def _replace(self, now_us: int) -> None:
        if self.current is None:
            self.take_over(now_us)

    def _bury(self, worker: Worker) -> None:
        worker.ended = worker.reader.closed = True
        self.workers.remove(worker)
