"""The law book: looks at token pools after every step and at every answer, and says what is broken.

    pools = TokenPools(pool, seed="7", doors=4)
    book = LawBook(pool, pools)
    world = World(scenario, Watched(pools, book), on_step=lambda now_us: tell(book.check(now_us)))

Cheap checks run at every step and answer; those on a whole tick, on sums or on replays when a
tick, a fold or the end has come.  The book only looks: a world goes the same way without it.
"""

from __future__ import annotations

from collections.abc import Iterable

from admission.core.gate import Gate
from schemas.pools import Pool
from schemas.ticks import Tick
from schemas.units import US_PER_MS, Held, TokenCounts
from simulation.laws import evictions, exact_count, reversible, staleness
from simulation.laws.admissions import check_admission
from simulation.laws.broken import Broken
from simulation.laws.buckets import COMMON
from simulation.laws.charges import Charges
from simulation.laws.conserving import Conserving
from simulation.laws.demand import Demand
from simulation.laws.deterministic import check_ledger, check_replay
from simulation.laws.fairness import Fairness, check_debt
from simulation.laws.floors import Floors
from simulation.laws.holdings import Holdings
from simulation.laws.lines import lines_of
from simulation.laws.order import check_headroom, check_order
from simulation.laws.places import Place
from simulation.laws.promises import check_promises
from simulation.laws.raises import Raises
from simulation.laws.shadow import Entry, Shadow
from simulation.policy import Ask, Denied, Ended, Granted, Kept
from simulation.pools.door import Door
from simulation.pools.tokenpools import TokenPools
from streams.core.tick import TickOutcome


class LawBook:
    """Judges one run."""

    def __init__(self, pool: Pool, policy: TokenPools) -> None:
        self._pool = pool
        self._policy = policy
        self._places = [Place(index) for index in range(policy.doors)]
        self._broken: list[Broken] = []
        self._ticked: TickOutcome | None = None
        self._folded = -1
        self._epoch = (0, 0)
        self.shadow = Shadow()
        self.holdings = Holdings()
        self.raises = Raises(pool)
        self.charges = Charges(lease_us=staleness.leases(pool)[0])
        self.floors = Floors(pool)
        self.demand = Demand(pool)
        self.fairness = Fairness()
        self.conserving = Conserving()

    def check(self, now_us: int) -> tuple[Broken, ...]:
        """Look around after a step; return what was broken since the last time."""
        self.look(now_us)
        self._add(self.holdings.check(self.shadow.held))
        broken, self._broken = tuple(self._broken), []
        return broken

    def close(self, now_us: int) -> tuple[Broken, ...]:
        """Judge what can be judged only at the end."""
        self.look(now_us)
        self._add(self.charges.close())
        self._check_gates()
        if self._policy.owner is not None:
            self._add(exact_count.check_totals(self._policy.owner.totals, self._policy.expected))
            self._add(check_ledger(self._pool, self._policy.log, self._policy.owner))
        return self.check(now_us)

    def look(self, now_us: int) -> None:
        """Notice what has happened without an answer: ticks, folds, restarts, states, expiries."""
        for place, door in zip(self._places, self._policy.admitters, strict=True):
            self._look_at(place, door, now_us)
        expiry_us = self.shadow.next_expiry_us
        if expiry_us is not None and expiry_us <= now_us:
            self.shadow.expire(now_us)
        ticks = self._policy.ticks
        if ticks and ticks[-1] is not self._ticked:
            self._see_ticks(ticks, now_us)
        owner = self._policy.owner
        if owner is not None and owner.home.folded_through != self._folded:
            self._folded = owner.home.folded_through
            self._add(exact_count.check_totals(owner.totals, self._policy.expected))
            self._add(
                exact_count.check_verdicts(self._policy.verdict_counts, self._policy.events_read)
            )

    def _look_at(self, place: Place, door: Door, now_us: int) -> None:
        if door.gate is not place.gate:
            self._turn(place, door.gate)
            place.since_us = now_us
        if place.look(door.clock, now_us=now_us):
            self._add(place.check_version())
        if place.desk is not None:
            self.demand.reported(place.desk)
            place.buckets.follow(place.desk, now_us=door.moment(now_us).mono_us)
            self.floors.follow(place.index, place.desk.outlook.rooms, now_us=now_us)
            for uid, growth in place.raised_rates():
                level = place.buckets.levels[uid].level
                self.floors.raised(place.index, uid, growth, level=level, now_us=now_us)

    # --- answers ---------------------------------------------------------------------------------

    def granted(self, ask: Ask, answer: Granted, *, now_us: int) -> None:
        """See a request start."""
        place = self._places[answer.door]
        if answer.handle in self.shadow.entries or place.gate is None or place.desk is None:
            return  # the same reservation again
        item = place.gate.reservations.of_request(self._pool.name, ask.entitlement, ask.request_id)
        assert item is not None
        entry = Entry(
            handle=answer.handle,
            uid=ask.entitlement,
            door=answer.door,
            incarnation=place.gate.incarnation,
            item=item,
            tokens=item.tokens,
            kv_bytes=item.kv_bytes,
            slots=item.slots,
            served_class=answer.served_class,
            demoted=answer.demoted,
            adopted=False,
            started_us=now_us,
            until_us=self._until_us(answer.door, item.expires_us),
        )
        self.shadow.open(entry)
        self.demand.granted(ask)
        self.demand.note(entry.uid, self.shadow, doors=len(self._places), now_us=now_us)
        self._charge(entry, place, item.tokens, now_us=now_us)
        age_us = place.freshness.age_us(now_us)
        self._add(
            staleness.check_granted(self._pool, entry, place.desk, self.shadow, age_us=age_us)
        )
        if age_us is not None and age_us <= staleness.leases(self._pool)[0]:
            self._add(check_admission(self._pool, entry, place, self.shadow))

    def denied(self, ask: Ask, answer: Denied, *, door: int, now_us: int) -> None:
        """See a request refused."""
        place = self._places[door]
        desk = place.desk
        self.demand.note(ask.entitlement, self.shadow, doors=len(self._places), now_us=now_us)
        self.demand.denied(ask, answer, door=door, now_us=now_us)
        self.demand.note(ask.entitlement, self.shadow, doors=len(self._places), now_us=now_us)
        if desk is None:
            return
        self._add(self.floors.denied(ask, answer, place, self.shadow, now_us=now_us))
        self._add(evictions.check_throttled(self._pool, ask, answer, desk, self.shadow, door=door))

    def renewed(self, handle: str, answer: object, *, door: int, now_us: int) -> None:
        """See a reservation live on, perhaps at another admitter."""
        entry = self.shadow.entries.get(handle)
        if entry is None or not isinstance(answer, Kept):
            return
        if answer.handle != handle:
            entry = self._adopted(entry, answer, now_us=now_us)
        place = self._places[answer.door]
        if entry is None or place.desk is None:
            return
        entry.until_us = self._until_us(entry.door, entry.item.expires_us)
        self.shadow.expect(entry)
        age_us = place.freshness.age_us(now_us)
        if answer.stop_in_us is not None and not entry.told_to_stop:
            entry.told_to_stop = True
            self._add(evictions.check_told(self._pool, entry, age_us=age_us))
        self._add(staleness.check_kept(self._pool, entry, place.desk, self.shadow, age_us=age_us))

    def before_settlement(self, handle: str, *, door: int) -> reversible.Before | None:
        """Look at an account before a settlement that may change it."""
        entry, gate = self.shadow.entries.get(handle), self._places[door].gate
        if entry is None or gate is None or gate.incarnation != entry.incarnation:
            return None
        return reversible.before_settlement(gate, self._pool, entry)

    def settled(
        self,
        handle: str,
        used: TokenCounts,
        answer: reversible.EndAnswer,
        before: reversible.Before | None,
        *,
        door: int,
        now_us: int,
    ) -> None:
        """See a reservation end."""
        entry = self.shadow.entries.get(handle)
        if entry is None:
            return
        is_gone = self._places[entry.door].freshness.incarnation != entry.incarnation
        self._add(
            reversible.check_answer(entry, answer, at_own_door=before is not None, is_gone=is_gone)
        )
        if before is not None:
            self._add(reversible.check_charge(entry, answer, used, before, pool=self._pool))
        gate = self._places[door].gate
        if gate is not None:
            self._add(reversible.check_account(gate, door, entry.uid, self._pool))
        if isinstance(answer, Ended):
            self._ends(entry, answer, used, door=door, is_gone=is_gone, now_us=now_us)
        elif entry.orphan:
            self.shadow.stop(entry)

    # --- inside ----------------------------------------------------------------------------------

    def _ends(
        self,
        entry: Entry,
        answer: Ended,
        used: TokenCounts,
        *,
        door: int,
        is_gone: bool,
        now_us: int,
    ) -> None:
        change = self._pool.weights.cost_tokens(used) - entry.tokens
        if answer.first:
            if is_gone:
                self._took_over(entry, door)
                entry.orphan, entry.ended = True, "settled"
            if is_gone or entry.adopted:
                change = max(0, change)
            self.shadow.end(entry, "settled")
            self._charge(entry, self._places[door], change, now_us=now_us)
        elif entry.ended == "expired" and not (is_gone or entry.charged_late) and used.total:
            entry.charged_late = True
            self._charge(entry, self._places[door], max(0, change), now_us=now_us)
        self.demand.note(entry.uid, self.shadow, doors=len(self._places), now_us=now_us)

    def _adopted(self, old: Entry, answer: Kept, *, now_us: int) -> Entry | None:
        """Enter the reservation under its new id; the old one counts no longer."""
        if answer.handle in self.shadow.entries:
            return self.shadow.entries[answer.handle]
        place = self._places[answer.door]
        items = () if place.gate is None else place.gate.reservations
        item = next((each for each in items if each.reservation_id == answer.handle), None)
        if item is None or place.gate is None:
            return None
        self.shadow.stop(old)
        self._took_over(old, answer.door)
        entry = Entry(
            handle=answer.handle,
            uid=old.uid,
            door=answer.door,
            incarnation=place.gate.incarnation,
            item=item,
            tokens=item.tokens,
            kv_bytes=item.kv_bytes,
            slots=item.slots,
            served_class=old.served_class,
            demoted=old.demoted,
            adopted=True,
            started_us=now_us,
            until_us=self._until_us(answer.door, item.expires_us),
        )
        self.shadow.open(entry)
        return entry

    def _took_over(self, old: Entry, door: int) -> None:
        held = Held(old.tokens, old.kv_bytes, old.slots)
        self._places[door].adopts((old.incarnation, old.uid), held)

    def _charge(self, entry: Entry, place: Place, tokens: int, *, now_us: int) -> None:
        """Note a charge; what exceeds an estimate is the estimator's error, not admitted."""
        if place.desk is not None:
            in_common = entry.demoted if entry.orphan else entry.item.in_common
            name = COMMON if in_common else entry.uid
            mono_us = self._policy.admitters[place.index].moment(now_us).mono_us
            place.buckets.follow(place.desk, now_us=mono_us)
            self._add(place.buckets.charge(place.desk, name, tokens, now_us=mono_us))
            if not in_common:
                self.floors.charge(place.index, entry.uid, tokens, now_us=now_us)
        if tokens > 0 and (entry.ended or entry.orphan):
            return
        if tokens > 0:
            bucket = COMMON if entry.item.in_common else entry.uid
            self.charges.admitted(entry.door, bucket, tokens, now_us=now_us)
        depth = sum(each.depth_tokens for each in self._places)
        self.charges.charge(tokens, depth_tokens=depth, now_us=now_us)

    def _turn(self, place: Place, gate: Gate | None) -> None:
        self.shadow.bury(place.index)
        self.demand.lost(place.index)
        self.floors.turned(place.index)
        place.turns_to(gate, self._pool.name)

    def _see_ticks(self, ticks: list[TickOutcome], now_us: int) -> None:
        new = len(ticks)
        while new > 0 and ticks[new - 1] is not self._ticked:
            new -= 1
        for outcome in ticks[new:]:
            self._see_tick(outcome, now_us)
        self._ticked = ticks[-1]
        if ticks[-1].tick.version == self.holdings.version:
            following = [place for place in self._places if self._follows(place, now_us)]
            self._add(self.holdings.check_reach(self._pool, following, self.shadow))

    def _see_tick(self, outcome: TickOutcome, now_us: int) -> None:
        tick, lines = outcome.tick, lines_of(self._pool, outcome.tick)
        following = [place for place in self._places if self._follows(place, now_us)]
        holding = [place.index for place in following if self._holds(place, now_us)]
        self._add(
            self.raises.published(outcome.publish, outcome.record, following, holding=holding)
        )
        self.holdings.tick(tick)
        self.floors.tick(lines, now_us=now_us)
        self._add(check_promises(self._pool, tick, lines))
        self._add(check_order(lines))
        self._add(
            check_headroom(
                lines, slots=tick.capacity.slots, headroom_slots=self._pool.headroom_slots
            )
        )
        self._add(check_replay(self._pool, tick))
        if self._pool.policy.mode == "default":
            self._add(self.fairness.check(tick, lines))
            self._add(check_debt(tick))
        self._add(self.conserving.check(self._pool, tick, lines))
        for uid in self._pool.entitlements:
            self.demand.note(uid, self.shadow, doors=len(self._places), now_us=now_us)
        self._add(self.demand.tick(tick, self._heard(now_us), self.shadow, now_us=now_us))
        self._drain(now_us)
        in_force = tick.version == self.holdings.version
        bound = tick.overshoot_bound.tokens_per_s if in_force else 0
        bound += self.charges.unheard(self._unheard(tick, now_us))
        self._add(self.charges.tick(bound, now_us=now_us))
        self._check_gates()

    def _unheard(self, tick: Tick, now_us: int) -> list[int]:
        """Return the doors whose largest requests a tick may not have heard of."""
        lease_us = staleness.leases(self._pool)[0]
        if tick.version.epoch != self._epoch[0]:
            self._epoch = (tick.version.epoch, now_us)
        heard = {
            item.incarnation
            for item in tick.inputs.reports
            if item.alive and item.age_ms * US_PER_MS <= lease_us
        }
        return [
            place.index
            for place in self._places
            if now_us - max(self._epoch[1], place.since_us) <= lease_us
            or place.freshness.incarnation not in heard
        ]

    def _follows(self, place: Place, now_us: int) -> bool:
        """Say whether an admitter's lease or hold lasts, so that it follows shares."""
        age_us = place.freshness.age_us(now_us)
        return age_us is not None and age_us <= sum(staleness.leases(self._pool))

    def _holds(self, place: Place, now_us: int) -> bool:
        """Say whether an admitter's lease is over."""
        age_us = place.freshness.age_us(now_us)
        return age_us is not None and age_us > staleness.leases(self._pool)[0]

    def _drain(self, now_us: int) -> None:
        """Let the capacity drain that was really there, or that the allocator believed in."""
        self.charges.flow(now_us)
        self.charges.capacity_tokens_per_s = max(
            self._policy.ready_now.tokens_per_s, self.holdings.capacity[0]
        )

    def _check_gates(self) -> None:
        for place in self._places:
            if place.gate is not None:
                self._add(reversible.check_gate(place.gate, place.index, self._pool, self.shadow))
                self._add(reversible.check_adoptions(place.gate, self._pool, place.adopted))

    def _heard(self, now_us: int) -> list[Place]:
        """Return the admitters that can report now."""
        return [
            place
            for place, door in zip(self._places, self._policy.admitters, strict=True)
            if place.gate is not None
            and not place.gate.leaving
            and max(door.paused_until_us, door.cut_off_until_us) <= now_us
        ]

    def _until_us(self, door: int, expires_us: int) -> int:
        return self._policy.admitters[door].clock.world_us(expires_us)

    def _add(self, broken: Iterable[Broken]) -> None:
        self._broken.extend(broken)
