"""Machine: every process of one pool and what lies between them, under a virtual clock.

The processes, their faults, and what somebody who judges them may see.  ``TokenPools`` translates
between it and the world's gateways.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Final

from admission.core.gate import Gate
from admission.core.tokens import Signer
from schemas.capacity import PoolCapacity, WriterRank, capacity_key
from schemas.ledger import TickRecord, WindowTotals
from schemas.pools import Pool
from schemas.state import AdmissionState
from schemas.units import US_PER_MS, US_PER_S, Held, Resources
from schemas.verdicts import VerdictCounts
from simulation.pools.agenda import Agenda
from simulation.pools.chaos import Chaos, describe
from simulation.pools.clocks import broker_us, drawn
from simulation.pools.door import Door
from simulation.pools.faults import NONE, FaultKind, Faults, TimedFault
from simulation.pools.graves import Graves
from simulation.pools.group import Group
from simulation.pools.owner import Durable, Owner
from simulation.pools.scaler import Scaler
from simulation.pools.usage_log import Tally, UsageLog
from simulation.pools.wire import Topic
from simulation.world.story import Tell
from streams.core.tick import TickOutcome

WARM_UP_US: Final = 5 * US_PER_S
KEY: Final = b"the simulator's key"
CAPACITY_TTL_MS: Final = 6_000
HEARTBEAT_US: Final = 2_000_000
"""How often the controller repeats its record of ``pool-capacity``."""


class Machine:
    """Admitters, owners, logs and topics."""

    def __init__(
        self,
        pool: Pool,
        *,
        seed: str,
        doors: int = 1,
        faults: Faults = NONE,
        ordered: Sequence[TimedFault] = (),
        tell: Tell | None = None,
    ) -> None:
        self.pool = pool
        self.graves = Graves()
        self._agenda = Agenda()
        self._tell = tell or _tell_nobody
        self._faults = faults
        self._ordered = tuple(ordered)
        self._now_us = -WARM_UP_US
        self._begun = False
        self._unanswered: dict[str, None] = {}
        self._replicas = (0, 0, 0)
        self._silent_until_us = self._now_us
        self._states = self._topic("admission-state", seed)
        self._reports = self._topic("admitter-reports", seed)
        self._log = UsageLog(pool, faults=faults.usage, random=Random(f"{seed}/usage"))
        self._scaler = Scaler(pool)
        self._durable = Durable(pool, self._log, self._states, on_tick=self._scaler.see)
        self._specs = Random(f"{seed}/pools")
        self._group = Group(
            self._durable,
            self._reports,
            self._agenda,
            faults,
            Random(f"{seed}/owners"),
            self._tell,
        )
        self.admitters = self._doors(seed, doors)
        self._chaos = Chaos(seed, faults, doors, self._agenda, self._strike)

    @property
    def doors(self) -> int:
        """How many admitters there are."""
        return len(self.admitters)

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        """Let controller and operator report the replicas; the first call begins everything."""
        self._replicas = (ready, starting, draining)
        if not self._begun:
            self._begin(now_us)
        self.advance(now_us=now_us)
        self._report_capacity(WriterRank.OPERATOR, now_us)
        if now_us >= self._silent_until_us:
            self._report_capacity(WriterRank.CONTROLLER, now_us)
        self._tell(now_us, "controller", "replicas", f"{ready} ready {starting} starting")

    def respec(self, pool: Pool, *, now_us: int) -> None:
        """Apply another spec of the pool, with a higher version; every process reads it later."""
        assert pool.name == self.pool.name
        assert pool.version > self.pool.version
        self.advance(now_us=now_us)
        self.pool = self._durable.pool = pool
        self._log.know(pool)
        self._tell(now_us, "operator", "applies", f"version {pool.version}")
        for door in self.admitters:
            door.pool = pool
            self._agenda.at(now_us + self._spec_delay_us(), partial(door.follow_spec, pool))
        self._agenda.at(now_us + self._spec_delay_us(), partial(self._group.follow_spec, pool))

    def next_event_us(self) -> int | None:
        """Return when something happens next."""
        return self._agenda.next_us

    def advance(self, *, now_us: int) -> None:
        """Let everything happen that is due."""
        assert now_us >= self._now_us
        self._agenda.run(now_us)
        self._now_us = now_us

    # --- for who judges --------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Actions that have happened."""
        return self._agenda.done

    @property
    def owner(self) -> Owner | None:
        """The present owner; None between a crash and the takeover."""
        worker = self._group.current
        return None if worker is None else worker.owner

    @property
    def former_owners(self) -> tuple[Owner, ...]:
        """Those that still run, or stand still, and do not know."""
        return tuple(each.owner for each in self._group.workers if each.replaced)

    @property
    def generation(self) -> int:
        """How often the partition was taken over."""
        return self._group.generation

    @property
    def record(self) -> TickRecord | None:
        """The last acknowledged tick record of the present owner, or the last one stored."""
        owner = self.owner
        if owner is not None:
            return owner.record
        return self.ticks[-1].record if self.ticks else None

    @property
    def ticks(self) -> list[TickOutcome]:
        """The last tick outcomes whose record was acknowledged, oldest first."""
        return self._durable.ticks

    @property
    def published(self) -> list[AdmissionState]:
        """The last parts written to ``admission-state``, oldest first."""
        return self._durable.published

    @property
    def ledger(self) -> dict[str, WindowTotals] | None:
        """The totals that the present owner has in memory, by entitlement."""
        return None if self.owner is None else self.owner.totals

    @property
    def expected(self) -> Tally:
        """What the totals must be where the present owner stands (nothing without one)."""
        through = -1 if self.owner is None else self.owner.home.folded_through
        return self._log.accepted_through(through)

    @property
    def log(self) -> UsageLog:
        """The usage log."""
        return self._log

    @property
    def verdict_counts(self) -> tuple[VerdictCounts, ...]:
        """How the present owner has judged, by partition."""
        owner = self.owner
        ledgers = [] if owner is None else owner.ledgers
        return tuple(owner.verdicts(each.place.partition) for each in ledgers if owner)

    @property
    def events_read(self) -> tuple[int, ...]:
        """How many events the present owner has read, by partition."""
        ledgers = [] if self.owner is None else self.owner.ledgers
        return tuple(
            self._log.events_through(each.place.partition, each.folded_through) for each in ledgers
        )

    @property
    def capacity_now(self) -> Resources:
        """What the last tick believed to be live."""
        return self.ticks[-1].tick.capacity if self.ticks else Resources()

    @property
    def ready_now(self) -> Resources:
        """What really is."""
        return self.pool.per_replica.times(self._replicas[0])

    @property
    def message_counts(self) -> dict[str, Counter[str]]:
        """What became of messages, by topic."""
        return {
            "admission-state": self._states.counts,
            "admitter-reports": self._reports.counts,
            "usage": self._log.counts,
        }

    @property
    def happened(self) -> list[TimedFault]:
        """The timed faults so far."""
        return self._chaos.happened

    def gates(self) -> list[Gate]:
        """Return the gates of all processes, those that stand still included."""
        return [door.gate for door in self.admitters if door.gate is not None]

    def held(self, entitlement: str | None = None) -> Held:
        """Return what is held now by one entitlement or by all, graves included."""
        total = self.graves.held(entitlement, now_us=self._now_us)
        for door in self.admitters:
            accounts = {} if door.desk is None else door.desk.accounts
            for uid, account in accounts.items():
                if entitlement in (None, uid):
                    total += account.held
        return total

    def home_of(self, entitlement: str) -> int | None:
        """Return the door that the newest record names home of an entitlement."""
        home = "" if self.record is None else self.record.homes.get(entitlement, "")
        return next((door.index for door in self.admitters if door.incarnation == home), None)

    # --- inside ----------------------------------------------------------------------------------

    def _topic(self, name: str, seed: str) -> Topic:
        delivery = self._faults.states if name == "admission-state" else self._faults.reports
        return Topic(name, self._agenda, delivery, Random(f"{seed}/{name}"))

    def _doors(self, seed: str, doors: int) -> tuple[Door, ...]:
        random = Random(f"{seed}/doors")
        signer = Signer(KEY)
        tick_us = self.pool.policy.tick_ms * US_PER_MS
        return tuple(
            Door(
                index=index,
                pool=self.pool,
                clock=drawn(
                    random,
                    drift_ppm_max=self._faults.clock_drift_ppm_max,
                    skew_ms_max=self._faults.clock_skew_ms_max,
                ),
                signer=signer,
                agenda=self._agenda,
                states=self._states,
                reports=self._reports,
                graves=self.graves,
                tell=self._tell,
                phase_us=random.randrange(tick_us),
            )
            for index in range(doors)
        )

    def _spec_delay_us(self) -> int:
        bounds = self._faults.states
        return self._specs.randint(bounds.delay_ms_min, bounds.delay_ms_max) * US_PER_MS

    def _begin(self, now_us: int) -> None:
        self._begun = True
        start_us = now_us - WARM_UP_US
        self._now_us = start_us
        self._report_capacity(WriterRank.OPERATOR, start_us)
        self._beat_capacity(start_us)
        for door in self.admitters:
            door.start(start_us)
        self._group.take_over(start_us)
        self._agenda.at(now_us, lambda at_us: self._chaos.begin(at_us, self._ordered))

    def _beat_capacity(self, now_us: int) -> None:
        """Let the controller repeat its record for as long as it speaks."""
        if now_us >= self._silent_until_us:
            self._report_capacity(WriterRank.CONTROLLER, now_us)
        self._agenda.at(now_us + HEARTBEAT_US, self._beat_capacity)

    def _report_capacity(self, rank: WriterRank, now_us: int) -> None:
        ready, starting, draining = self._replicas
        writer = rank.name.lower()
        record = PoolCapacity(
            pool=self.pool.name,
            writer=writer,
            rank=rank,
            ready=ready,
            starting=starting,
            draining=draining,
            at_us=broker_us(now_us),
            ttl_ms=CAPACITY_TTL_MS if rank is WriterRank.CONTROLLER else 0,
        )
        key = capacity_key(self.pool.name, writer)
        self._durable.capacity[key] = (record, broker_us(now_us) // US_PER_MS)

    def _strike(self, fault: TimedFault, now_us: int) -> bool:
        """Let a fault happen; say whether it could."""
        struck = self._strike_owner(fault, now_us) or self._strike_door(fault, now_us)
        if fault.kind is FaultKind.CAPACITY_SILENCE:
            self._silent_until_us = max(self._silent_until_us, now_us + fault.lasts_us)
            struck = True
        if struck:
            self._tell(now_us, self._victim(fault), f"fault: {fault.kind}", describe(fault))
        return struck

    def _strike_owner(self, fault: TimedFault, now_us: int) -> bool:
        if fault.kind is FaultKind.CRASH:
            return self._group.crash(fault, now_us)
        return fault.kind is FaultKind.OWNER_PAUSE and self._group.pause(fault, now_us)

    def _strike_door(self, fault: TimedFault, now_us: int) -> bool:
        door = self.admitters[fault.door]
        match fault.kind:
            case FaultKind.KILL:
                return door.kill(now_us, restart_us=fault.lasts_us)
            case FaultKind.LEAVE:
                return door.leave(now_us, restart_us=fault.lasts_us)
            case FaultKind.PAUSE:
                return door.pause(now_us, lasts_us=fault.lasts_us)
            case FaultKind.CUT_OFF:
                return door.cut_off(now_us, lasts_us=fault.lasts_us)
        return False

    def _victim(self, fault: TimedFault) -> str:
        if fault.kind in (FaultKind.CRASH, FaultKind.OWNER_PAUSE):
            return f"owner-{self.generation}"
        if fault.kind is FaultKind.CAPACITY_SILENCE:
            return "controller"
        return self.admitters[fault.door].name


def _tell_nobody(at_us: int, who: str, what: str, detail: str) -> None:
    """Tell nobody."""
