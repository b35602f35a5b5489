"""The book: the one place where a reservation opens and ends.

Law 7: each ends in exactly one of settled, released, expired.  Amounts are freed only on the
table's first ``end``; throughput stays charged and is corrected by what was really used.  Usage
that arrives after expiry is charged where it exceeds the estimate, once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from admission.core.journal import Journal
from admission.core.moment import Moment
from admission.core.opening import open_of
from admission.core.pool import PoolDesk
from admission.core.reservations import Ended, Open, Reservations
from admission.core.tokens import ReservationClaims, Signer
from schemas.decisions import DecisionKind
from schemas.units import US_PER_MS, Held, TokenCounts, ceil_div

ADOPTED_MAX: Final = 32_768
"""Old ids of adopted reservations that are remembered."""


@dataclass(slots=True)
class Book:
    """The reservations of one incarnation, and what changes with them."""

    signer: Signer
    reservations: Reservations
    journal: Journal
    desks: dict[str, PoolDesk] = field(default_factory=dict)
    _number: int = 0
    _adopted: OrderedDict[tuple[str, int], int] = field(default_factory=OrderedDict)

    def next_number(self) -> int:
        """Return a number that this incarnation has never used."""
        self._number += 1
        return self._number

    def open(
        self, claims: ReservationClaims, *, in_common: bool, request_id: str, now: Moment
    ) -> Open:
        """Open a reservation: hold its amounts, charge its estimate."""
        reservation_id = self.signer.seal_reservation(claims)
        item = open_of(claims, reservation_id=reservation_id, in_common=in_common, now=now)
        item.request_id = request_id
        self.reservations.add(item)
        desk = self.desks[item.pool]
        desk.hold(item)
        desk.charge(item, item.tokens, now_us=now.mono_us)
        account = desk.accounts[item.entitlement]
        account.pending.take(request_id)
        if desk.reclaim.awaited.entries:
            desk.reclaim.awaited.take(f"{item.entitlement}/{request_id}")
        account.counters.admitted += 1
        account.counters.demoted += item.demoted
        account.counters.reserved_tokens += item.tokens
        window_ms = desk.spec.leases.lease_ms
        account.largest.observe(item.tokens, now_us=now.mono_us, window_ms=window_ms)
        if item.demoted:
            self.note(DecisionKind.DEMOTED, item, now)
        else:
            self.journal.count(DecisionKind.ADMITTED, pool=item.pool, entitlement=item.entitlement)
        return item

    def adopt(self, claims: ReservationClaims, *, now: Moment) -> Open:
        """Take over a dead admitter's reservation under a new id; its tokens were charged there."""
        desk = self.desks[claims.pool]
        mine = claims.taken_over(desk.incarnation, self.next_number(), desk.version)
        reservation_id = self.signer.seal_reservation(mine)
        item = open_of(mine, reservation_id=reservation_id, in_common=claims.demoted, now=now)
        item.adopted = True
        self.reservations.add(item)
        desk.hold(item)
        desk.accounts[item.entitlement].counters.adopted += 1
        self._remember(claims, item.number)
        origin = (claims.incarnation, claims.entitlement)
        taken = Held(claims.tokens, claims.kv_bytes, claims.slots)
        desk.adoptions[origin] = desk.adoptions.get(origin, Held()) + taken
        self.note(DecisionKind.ADOPTED, item, now)
        return item

    def number_of(self, claims: ReservationClaims, *, incarnation: str) -> int | None:
        """Return our number of a reservation: its own, or the one that it was adopted under."""
        if claims.incarnation == incarnation:
            return claims.number
        return self._adopted.get((claims.incarnation, claims.number))

    def find(self, number: int) -> Open | Ended | None:
        """Return a reservation, open or remembered."""
        return self.reservations.get(number) or self.reservations.ended(number)

    def settle(
        self, item: Open, used: TokenCounts, *, completed: bool, source: str, now: Moment
    ) -> Ended:
        """End a reservation with what it used: free its amounts, correct its charge.

        The estimator learns from completed requests only: an aborted one says nothing about
        how long an answer would have been.
        """
        desk = self.desks[item.pool]
        ended = self.reservations.end(item.number, "settled")
        assert ended is not None
        desk.free(item)
        ended.charged_tokens = desk.spec.weights.cost_tokens(used)
        correction = ended.charged_tokens - item.tokens
        if item.adopted:
            correction = max(0, correction)  # the estimate was charged at the dead admitter
        desk.charge(item, correction, now_us=now.mono_us)
        account = desk.accounts[item.entitlement]
        if completed:
            covered = account.estimates.observe(
                estimate=item.output_tokens, actual=used.output_tokens
            )
            account.outputs.observe(ceil_div(used.output_tokens, item.slots), covered=covered)
        if not item.adopted:
            ran_ms = (now.mono_us - item.started_us) // US_PER_MS
            account.duration.observe(ran_ms)
            account.held_duration.observe(
                ran_ms, reserved_tokens=item.tokens, used_tokens=ended.charged_tokens
            )
        counters = account.counters
        counters.settled += 1
        counters.settle(used, source=source)
        counters.charged_tokens += ended.charged_tokens
        counters.estimate_error_tokens += abs(ended.charged_tokens - item.tokens)
        self.journal.count(DecisionKind.SETTLED, pool=item.pool, entitlement=item.entitlement)
        return ended

    def settle_again(self, claims: ReservationClaims, *, now: Moment) -> Ended:
        """End a dead admitter's reservation that may have been settled there: nothing is known.

        What it held counts with the dead one's until that lapses; what it used is in the ledger by
        its events, and in the settled totals at most once: there.
        """
        desk = self.desks[claims.pool]
        mine = claims.taken_over(desk.incarnation, self.next_number(), desk.version)
        reservation_id = self.signer.seal_reservation(mine)
        item = open_of(mine, reservation_id=reservation_id, in_common=claims.demoted, now=now)
        ended = self.reservations.remember(item, "settled")
        self._remember(claims, item.number)
        return ended

    def settle_late(self, ended: Ended, used: TokenCounts, *, source: str, now: Moment) -> None:
        """Charge usage that arrived after expiry, the first time it arrives; free nothing."""
        item = ended.item
        desk = self.desks[item.pool]
        account = desk.accounts.get(item.entitlement)
        if ended.how != "expired" or ended.late or account is None:
            return
        ended.late = True
        ended.charged_tokens = desk.spec.weights.cost_tokens(used)
        excess = max(0, ended.charged_tokens - item.tokens)
        desk.charge(item, excess, now_us=now.mono_us)
        account.counters.late_settled += 1
        account.counters.settle(used, source=source)
        account.counters.charged_tokens += ended.charged_tokens

    def release(self, item: Open, *, now: Moment) -> Ended:
        """End a reservation that used nothing: free its amounts, take its charge back."""
        desk = self.desks[item.pool]
        ended = self.reservations.end(item.number, "released")
        assert ended is not None
        desk.free(item)
        if not item.adopted:
            desk.charge(item, -item.tokens, now_us=now.mono_us)
        desk.accounts[item.entitlement].counters.released += 1
        self.journal.count(DecisionKind.RELEASED, pool=item.pool, entitlement=item.entitlement)
        return ended

    def expire(self, item: Open, *, now: Moment) -> None:
        """End a reservation that nobody renewed: free its amounts, keep its estimate charged."""
        if self.reservations.end(item.number, "expired") is None:
            return
        desk = self.desks[item.pool]
        desk.free(item)
        desk.accounts[item.entitlement].counters.expired += 1
        self.note(DecisionKind.EXPIRED, item, now)

    def note(self, kind: DecisionKind, item: Open, now: Moment, **rest: Any) -> None:
        """Note a decision on one reservation."""
        desk = self.desks[item.pool]
        self.journal.note(
            kind,
            at_us=now.wall_us,
            pool=item.pool,
            entitlement=item.entitlement,
            tenant=desk.accounts[item.entitlement].spec.tenant,
            served_class=item.served_class,
            request_id=item.request_id,
            reservation_id=item.reservation_id,
            tokens=item.tokens,
            kv_bytes=item.kv_bytes,
            slots=item.slots,
            state_version=desk.version,
            state_age_ms=desk.age_ms(now.mono_us),
            **rest,
        )

    def _remember(self, claims: ReservationClaims, number: int) -> None:
        self._adopted[claims.incarnation, claims.number] = number
        if len(self._adopted) > ADOPTED_MAX:
            self._adopted.popitem(last=False)
