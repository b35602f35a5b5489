"""Door: one admitter process and its successors under the same URL.

It runs the production ``Admitter`` with clocks of its own: follows ``admission-state``, expires
what nobody renews, and reports once per tick unless its last report is still on its way.  A kill
loses its memory; a pause loses nothing but time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from admission.admitter import Admitter
from admission.core.gate import Gate
from admission.core.moment import Moment
from admission.core.pool import PoolDesk
from admission.core.reporting import reports_of
from admission.core.tokens import Signer
from schemas.pools import Pool
from schemas.reports import AdmitterReport
from schemas.units import US_PER_MS, US_PER_S
from schemas.wire import encode
from simulation.pools.agenda import Agenda
from simulation.pools.clocks import BEFORE_ALL_US, Clock
from simulation.pools.graves import Graves
from simulation.pools.wire import Reader, Stored, Topic
from simulation.world.story import Tell

LOOP_US: Final = 200_000
"""How often it looks for what has expired and whether a report is due."""
LAST_WORD_US: Final = 200_000
"""How long it answers after it said that it is leaving."""
DECISIONS_PER_LOOP: Final = 1_000


@dataclass
class Door:
    """One URL."""

    index: int
    pool: Pool
    """As applied last: what a new process reads first."""
    clock: Clock
    signer: Signer
    agenda: Agenda
    states: Topic
    reports: Topic
    graves: Graves
    tell: Tell
    phase_us: int = 0
    """When its loop begins, after its start."""
    known: Pool = field(init=False)
    """The spec as the process knows it."""
    admitter: Admitter | None = None
    """None: the process is down."""
    paused_until_us: int = BEFORE_ALL_US
    cut_off_until_us: int = BEFORE_ALL_US
    decisions: Counter[str] = field(default_factory=Counter)
    """By kind, over all incarnations."""
    _reader: Reader | None = None
    _now_us: int = 0
    _born: int = 0
    _life: int = 0
    _report_due_us: int = BEFORE_ALL_US
    _acked_us: int = BEFORE_ALL_US

    @property
    def url(self) -> str:
        """The same for every incarnation."""
        return f"http://admitter-{self.index}"

    @property
    def name(self) -> str:
        """As the story calls it."""
        return f"admitter-{self.index}"

    @property
    def gate(self) -> Gate | None:
        """The production gate; None while the process is down."""
        return None if self.admitter is None else self.admitter.gate

    @property
    def incarnation(self) -> str:
        """The present one; "" while the process is down."""
        return "" if self.admitter is None else self.admitter.gate.incarnation

    @property
    def desk(self) -> PoolDesk | None:
        """What it knows of the pool."""
        return None if self.admitter is None else self.admitter.gate.desks[self.pool.name]

    def answers(self, now_us: int) -> Admitter | None:
        """Return the process if it answers requests now, told what time it is."""
        if self.admitter is None or self.paused_until_us > now_us:
            return None
        self._now_us = now_us
        return self.admitter

    def moment(self, now_us: int) -> Moment:
        """Return its clocks."""
        return self.clock.moment(now_us)

    def start(self, now_us: int) -> None:
        """Begin a process: empty, with an incarnation of its own."""
        self._life += 1
        self._now_us = now_us
        gate = Gate(self._next_incarnation(), self.url, self.signer)
        self.known = self.pool
        gate.follow_pool(self.pool, now=self.moment(now_us))
        self.admitter = Admitter(
            gate=gate,
            clock=self._read_clock,
            new_incarnation=self._next_incarnation,
            log=_say_nothing,
        )
        self.admitter.pools_read = True
        self._report_due_us = self._acked_us = self.paused_until_us = BEFORE_ALL_US
        self._reader = Reader(self.name, self._on_state)
        self._reader.cut_off(self.cut_off_until_us)
        self.states.join(self._reader, now_us=now_us, from_beginning=True)
        self.tell(now_us, self.name, "starts", f"as {gate.incarnation}")
        self.agenda.at(now_us + self.phase_us, partial(self._loop, self._life))

    def follow_spec(self, pool: Pool, now_us: int) -> None:
        """Read another spec from ``pools``, or later if it stands still or is cut off."""
        readable_us = max(self.paused_until_us, self.cut_off_until_us)
        if readable_us > now_us:
            self.agenda.at(readable_us, partial(self.follow_spec, pool))
        elif self.admitter is not None and pool.version > self.known.version:
            self.known = pool
            self._now_us = now_us
            self.admitter.gate.follow_pool(pool, now=self.moment(now_us))
            self.tell(now_us, self.name, "spec", f"version {pool.version}")

    def kill(self, now_us: int, *, restart_us: int, what: str = "kill") -> bool:
        """End the process with everything it knew; say whether there was one."""
        if self.admitter is None or self._reader is None:
            return False
        gate, self.admitter = self.admitter.gate, None
        self._reader.closed = True
        self._life += 1
        self._dig(gate)
        self.tell(now_us, self.name, what, f"{gate.incarnation} with {len(gate.reservations)} open")
        self.agenda.at(now_us + restart_us, partial(self._restart, self._life))
        return True

    def leave(self, now_us: int, *, restart_us: int) -> bool:
        """Say that it is leaving, and end a little later; say whether it could."""
        if self.answers(now_us) is None or self.admitter is None:
            return False
        self.admitter.gate.leaving = True
        self.tell(now_us, self.name, "leaves", self.incarnation)
        self._acked_us = BEFORE_ALL_US
        self._report(now_us)
        life = self._life

        def end(at_us: int) -> None:
            if life == self._life:
                self.kill(at_us, restart_us=restart_us, what="has left")

        self.agenda.at(now_us + LAST_WORD_US, end)
        return True

    def pause(self, now_us: int, *, lasts_us: int) -> bool:
        """Let it stand still; say whether it ran."""
        if self.answers(now_us) is None or self._reader is None:
            return False
        self.paused_until_us = now_us + lasts_us
        self._reader.cut_off(self.paused_until_us)
        return True

    def cut_off(self, now_us: int, *, lasts_us: int) -> bool:
        """Let nothing pass between it and the broker, even if it restarts meanwhile."""
        self.cut_off_until_us = max(self.cut_off_until_us, now_us + lasts_us)
        if self._reader is not None:
            self._reader.cut_off(self.cut_off_until_us)
        return True

    def _restart(self, life: int, now_us: int) -> None:
        if life == self._life:
            self.start(now_us)

    def _loop(self, life: int, now_us: int) -> None:
        if life != self._life or self.admitter is None:
            return
        if now_us < self.paused_until_us:
            self.agenda.at(self.paused_until_us, partial(self._loop, life))
            return
        self._now_us = now_us
        gate = self.admitter.gate
        gate.expire(self.moment(now_us))
        self.graves.prune(now_us)
        if now_us >= self._report_due_us:
            gate.journal.close_tick(self.pool.name, at_us=self.moment(now_us).wall_us)
            self._report(now_us)
            self._set_next(now_us)
        self._write_decisions(gate)
        self.agenda.at(now_us + LOOP_US, partial(self._loop, life))

    def _set_next(self, now_us: int) -> None:
        """Keep the beat; after a pause begin a new one instead of catching up."""
        tick_us = self.known.policy.tick_ms * US_PER_MS
        due_us = max(self._report_due_us, now_us - tick_us) + tick_us
        self._report_due_us = due_us if due_us > now_us else now_us + tick_us

    def _report(self, now_us: int) -> None:
        """Send the pool's reports, unless the last one is still on its way."""
        desk = self.desk
        if desk is None or self.admitter is None or now_us < self._acked_us:
            return
        gate, mono_us = self.admitter.gate, self.moment(now_us).mono_us
        desk.refresh(mono_us)
        for report in reports_of(
            desk, gate.reservations, url=self.url, leaving=gate.leaving, now_us=mono_us
        ):
            self._send(report, now_us=now_us)

    def _send(self, report: AdmitterReport, *, now_us: int) -> None:
        value, life = encode(report), self._life
        if now_us >= self.cut_off_until_us:
            self.reports.put(b"", value, now_us=now_us)
            return

        def deliver(at_us: int) -> None:
            if life == self._life:
                self.reports.put(b"", value, now_us=at_us)

        self._acked_us = self.cut_off_until_us
        self.agenda.at(self.cut_off_until_us, deliver)

    def _on_state(self, record: Stored, now_us: int) -> None:
        admitter = self.admitter
        if admitter is None:
            return
        self._now_us = now_us
        before, version = admitter.gate, self._version()
        admitter.apply_state(record.value)
        if admitter.gate is not before:
            self._dig(before)
            self.tell(
                now_us,
                self.name,
                "declared dead",
                f"{before.incarnation} goes on as {admitter.gate.incarnation}, "
                f"{len(before.reservations)} open are forgotten",
            )
        applied = self._version()
        self.tell(
            now_us,
            self.name,
            "state",
            f"v{applied} " + ("" if applied != version else "(no newer)"),
        )

    def _version(self) -> str:
        desk = self.desk
        return "" if desk is None else str(desk.version)

    def _dig(self, gate: Gate) -> None:
        for item in gate.reservations:
            self.graves.dig(
                item,
                incarnation=gate.incarnation,
                door=self.index,
                until_us=self.clock.world_us(item.expires_us),
            )

    def _write_decisions(self, gate: Gate) -> None:
        for each in gate.journal.take(DECISIONS_PER_LOOP):
            self.decisions[each.kind] += each.count

    def _next_incarnation(self) -> str:
        self._born += 1
        return f"a{self.index}-{self._born}"

    def _read_clock(self) -> Moment:
        return self.moment(self._now_us)

    def describe(self, now_us: int) -> str:
        """Return in one line how it is, for a story."""
        desk = self.desk
        if desk is None:
            return "down"
        age_s = desk.age_ms(self.moment(now_us).mono_us) * US_PER_MS / US_PER_S
        return f"{self.incarnation} v{desk.version} {desk.freshness} age {age_s:.1f} s"


def _say_nothing(event: str, **fields: object) -> None:
    """Log nothing: the story is told by the world."""
