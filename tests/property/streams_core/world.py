"""A world of admitters that hear late, lose messages, restart, and use all they are allowed to.

One ``random.Random(seed)`` draws everything.  Admitters follow the rules of admission in the
least favourable way: they admit whenever they may.  Time is virtual; nothing is mocked: ticks are
the production function, on its own records.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from schemas.ledger import TickRecord
from schemas.pools import Pool
from schemas.positions import NO_VERSION, Version
from schemas.reports import AdmitterReport
from schemas.state import AdmissionState
from schemas.units import NOTHING, US_PER_S, Resources
from streams.core.followed import followed, widest
from streams.core.publication import whole
from streams.core.reports import merge
from streams.core.tick import Reported, TickOutcome, TickSources, advance
from tests.property.streams_core.admitter import TTL_US, Admitter, Request, share_of, total
from tests.unit.streams_core.pools import GIB, START_US, live

STEP_US = 250_000


@dataclass
class World:
    """Admitters, one tick's owner, and what is on its way between them."""

    pool: Pool
    seed: int
    admitters: int
    replicas: int = 1
    lossy: bool = True
    greedy: bool = False
    """Whether every entitlement asks everywhere until it is refused; else some ask sometimes."""
    kills: bool = True
    """Whether admitters are killed and replaced under their URLs."""
    reports_rarely: bool = False
    """Whether admitters report every other second, and admit a lot in between."""
    takeovers: bool = True
    """Whether the tick's owner changes."""
    partitions: bool = False
    """Whether admitters are cut off, one way or both, for longer than lease and hold."""
    reserved_at_home: bool = False
    """Whether requests of reserved classes all go to their homes."""
    now_us: int = START_US
    record: TickRecord | None = None
    outcome: TickOutcome | None = None
    generation: int = 1
    takeover: bool = True
    published: list[AdmissionState] = field(default_factory=list)
    alive: list[Admitter] = field(default_factory=list)
    orphans: list[tuple[int, Request]] = field(default_factory=list)
    """Requests of killed incarnations, until they expire."""
    story: list[str] = field(default_factory=list)
    _reports: dict[str, Reported] = field(default_factory=dict)
    _mail: list[tuple[int, int, Admitter | None, AdmitterReport | AdmissionState]] = field(
        default_factory=list
    )
    _born: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # the world's only source of chance
        self.story.append(f"seed={self.seed} admitters={self.admitters}")
        for number in range(self.admitters):
            self._bear(f"http://admitter-{number}")

    def step(self, *, chaos: bool = True) -> None:
        """Pass a quarter of a second: deliver, admit, end, report, and tick every second."""
        self.now_us += STEP_US
        self._deliver()
        for admitter in list(self.alive):
            self._live(admitter)
        if self.now_us // STEP_US % 4 == 0:
            self.tick()
        if chaos:
            self._break()
        self.orphans = [item for item in self.orphans if item[0] > self.now_us]

    def _break(self) -> None:
        """Kill an admitter, change the tick's owner, or cut an admitter off, now and then."""
        if self.kills and self.random.random() < 0.01:
            self.restart(self.random.choice(self.alive))
        if self.takeovers and self.random.random() < 0.005:
            self.generation, self.takeover = self.generation + 1, True
            self._reports.clear()
            self._note("takeover")
        if self.partitions and self.random.random() < 0.01:
            admitter = self.random.choice(self.alive)
            until_us = self.now_us + self.random.randint(4, 20) * US_PER_S
            if self.random.random() < 0.7:
                admitter.deaf_until_us = until_us
            if self.random.random() < 0.7:
                admitter.mute_until_us = until_us
            self._note(f"{admitter.name} is cut off until {(until_us - START_US) / US_PER_S} s")

    def tick(self) -> None:
        """Run one tick on the reports received so far, and send what it publishes."""
        self.outcome = advance(
            self.record,
            TickSources(
                now_us=self.now_us,
                elapsed_us=US_PER_S,
                generation=self.generation,
                pool=self.pool,
                capacity=live(self.replicas),
                reports=tuple(self._reports.values()),
                served_tokens={},
                ledger=None,
                takeover=self.takeover,
            ),
        )
        self.record, self.takeover = self.outcome.record, False
        if self.outcome.publish:
            state = whole(self.outcome.publish)
            self.published = [*self.published[-100:], state]
            for admitter in self.alive:
                self._send(admitter, state)

    def held(self) -> Resources:
        """Return all that runs, orphans included."""
        running = total(admitter.held() for admitter in self.alive)
        return running + total(request.amount for _, request in self.orphans)

    def _live(self, admitter: Admitter) -> None:
        if admitter.must_evict(self.now_us):
            admitter.evict(now_us=self.now_us)
        self._adopt(admitter)
        admitter.running = [item for item in admitter.running if self.random.random() > 0.05]
        admitter.refused.clear()
        names = sorted(self.pool.entitlements)
        if self.greedy:
            for uid in self.random.sample(names, len(names)):
                while self._offer(admitter, uid):
                    pass
        else:
            for _ in range(self.random.randint(0, 6)):
                self._offer(admitter, self.random.choice(names))
        if admitter.dead:
            self.restart(admitter)
        elif self.random.random() < (0.12 if self.reports_rarely else 0.6):
            self._send(None, admitter.report(now_us=self.now_us))

    def _adopt(self, admitter: Admitter) -> None:
        """Let it take over some requests of the dead where it believes to be home."""
        left = []
        for expires_us, request in self.orphans:
            mine = admitter.state is not None and any(
                item.entitlement == request.uid and item.home == admitter.name
                for item in admitter.state.entitlements
            )
            if mine and admitter.sees_dead(request.admitter) and self.random.random() < 0.3:
                admitter.adopt(request)
            else:
                left.append((expires_us, request))
        self.orphans = left

    def may_hold(self, uid: str) -> Resources:
        """Return Σ over admitters of the most that any state still to be followed gives it."""
        return total(self._widest(admitter, uid) for admitter in self.alive)

    def may_follow(self, uid: str) -> Resources:
        """Return the same by the last tick's record, which may know no better than a maximum."""
        keys = {(uid, admitter.name): Version() for admitter in self.alive}
        shares = () if self.record is None else self.record.shares
        chains = followed(shares, {name: version for (_, name), version in keys.items()})
        pairs = [widest(chains.get(key, ())) for key in keys]
        return total(floor.at_least(grant) for floor, grant in pairs)

    def _widest(self, admitter: Admitter, uid: str) -> Resources:
        """Return the larger of what it reported to hold and of any share it may follow since."""
        widest = NOTHING
        reported = self._reports.get(admitter.name)
        for entry in reported.report.entitlements if reported else ():
            if entry.entitlement == uid:
                widest = Resources(0, entry.held.kv_bytes, entry.held.slots)
        applied = reported.report.applied if reported else NO_VERSION
        behind = [state for state in self.published if state.version <= applied]
        ahead = [state for state in self.published if state.version > applied]
        for state in [*behind[-1:], *ahead]:
            widest = widest.at_least(share_of(state, uid, admitter.name))
        return widest

    def _offer(self, admitter: Admitter, uid: str) -> bool:
        """Offer one request; say whether it was admitted."""
        at_home = admitter.state is not None and self.home(uid) == admitter.name
        reserved = self.pool.entitlements[uid].service_class.is_reserved
        if self.reserved_at_home and reserved and not at_home:
            return False
        slots = self.random.choice((1, 1, 1, 2))
        kv_bytes = self.random.randint(0, 2 * GIB)
        request = Request(uid, Resources(15 * slots, kv_bytes, slots), admitter.name)
        if admitter.admit(request, now_us=self.now_us):
            return True
        refused = admitter.refused.get(uid, NOTHING)
        admitter.refused[uid] = refused + request.amount
        return False

    def home(self, uid: str) -> str:
        """Return the home named by the last tick."""
        return "" if self.record is None else self.record.homes.get(uid, "")

    def _send(self, to: Admitter | None, message: AdmitterReport | AdmissionState) -> None:
        if self.lossy and self.random.random() < 0.2:
            return
        if to is None and self._is_mute(message):
            return
        if to is not None and to.deaf_until_us > self.now_us:
            return
        delay_us = self.random.choice((0, 1, 2, 8)) * STEP_US if self.lossy else 0
        self._mail.append((self.now_us + delay_us, self.random.randrange(1 << 30), to, message))

    def _is_mute(self, message: AdmitterReport | AdmissionState) -> bool:
        assert isinstance(message, AdmitterReport)
        name = message.incarnation
        return any(a.name == name and a.mute_until_us > self.now_us for a in self.alive)

    def _deliver(self) -> None:
        due = sorted((item for item in self._mail if item[0] <= self.now_us), key=lambda m: m[:2])
        self._mail = [item for item in self._mail if item[0] > self.now_us]
        for _, _, to, message in due:
            if isinstance(message, AdmissionState):
                assert to is not None
                to.apply(message)
                continue
            previous = self._reports.get(message.incarnation)
            merged = merge(previous.report if previous else None, message)
            if previous is None or merged is not previous.report:
                self._reports[message.incarnation] = Reported(merged, self.now_us)

    def _bear(self, url: str) -> None:
        self._born += 1
        self.alive.append(Admitter(f"incarnation-{self._born}", url, self.pool))

    def restart(self, admitter: Admitter) -> None:
        """Kill it, whatever it has not reported; its requests run on until they expire."""
        expires_us = self.now_us + TTL_US
        self.orphans += [(expires_us, request) for request in admitter.running]
        self.alive.remove(admitter)
        self._bear(admitter.url)
        self._note(f"{admitter.name} restarts")

    def _note(self, what: str) -> None:
        self.story.append(f"{(self.now_us - START_US) / US_PER_S:8.2f} s  {what}")
