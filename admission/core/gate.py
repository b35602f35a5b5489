"""The gate: everything that one admitter knows, one method per route, values in and out.

No I/O and no clock: a ``Moment`` comes with every call.  ``admission.routes`` runs it behind HTTP
and the simulator under a virtual clock.  The same calls with the same moments give the same answers
and ids.  Calling twice is safe everywhere: a request id that is open gets the same reservation
again, and a reservation ends once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from admission.core.account import Account
from admission.core.answers import (
    Admitted,
    AdmittedDemoted,
    Closed,
    Elsewhere,
    EndAnswer,
    NotYet,
    Refused,
    RenewAnswer,
    Renewed,
    ReserveAnswer,
    Unknown,
)
from admission.core.book import Book
from admission.core.decision import Fits, FitsDemoted, Short
from admission.core.evictor import Evictor
from admission.core.journal import QUEUE_MAX, Journal
from admission.core.moment import Moment
from admission.core.opening import (
    Request,
    claims_of,
    demand_of,
    refusal_of,
    reservation_of,
    unmet_of,
)
from admission.core.ownership import Ours, owner_of
from admission.core.pool import PoolDesk
from admission.core.reservations import ENDED_MAX, OPEN_MAX, Ended, Open, Reservations
from admission.core.tokens import Signer
from schemas.decisions import DecisionKind, RefusalReason
from schemas.pools import Pool
from schemas.reservations import Refusal, Renewal, ReserveBody, SettleBody, SettlementResult
from schemas.state import AdmissionState
from schemas.units import US_PER_MS, TokenCounts


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one admitter remembers."""

    open_max: int = OPEN_MAX
    ended_max: int = ENDED_MAX
    decisions_max: int = QUEUE_MAX


@dataclass(slots=True)
class Gate:
    """One admitter incarnation."""

    incarnation: str
    url: str
    signer: Signer
    limits: Limits = field(default_factory=Limits)
    leaving: bool = False
    shadow: bool = False
    """Decide and report, but refuse, demote and evict nothing, whatever the pools say."""
    desks: dict[str, PoolDesk] = field(default_factory=dict)
    reservations: Reservations = field(init=False)
    journal: Journal = field(init=False)
    book: Book = field(init=False)
    evictor: Evictor = field(init=False)

    def __post_init__(self) -> None:
        self.reservations = Reservations(self.limits.open_max, self.limits.ended_max)
        self.journal = Journal(self.incarnation, self.limits.decisions_max)
        self.book = Book(self.signer, self.reservations, self.journal, self.desks)
        self.evictor = Evictor(self.book)

    def follow_pool(self, pool: Pool, *, now: Moment) -> None:
        """Follow a pool's spec."""
        desk = self.desks.get(pool.name)
        if desk is None:
            desk = self.desks[pool.name] = PoolDesk(pool, self.incarnation)
        desk.follow_spec(pool, now_us=now.mono_us)

    def forget_pool(self, name: str, *, now: Moment) -> None:
        """Drop a pool whose spec was removed; what it had open expires at once."""
        for item in [item for item in self.reservations if item.pool == name]:
            self.book.expire(item, now=now)
        self.desks.pop(name, None)

    def follow_state(self, state: AdmissionState, *, now: Moment) -> bool:
        """Follow a pool's state; False when it is no newer, or of an unknown pool."""
        desk = self.desks.get(state.pool)
        return desk is not None and desk.follow_state(state, now_us=now.mono_us)

    def reserve(self, body: ReserveBody, *, now: Moment) -> ReserveAnswer:
        """Admit the request or refuse it; its pool and entitlement are known ones."""
        self.expire(now)
        desk = self.desks[body.pool]
        account = desk.accounts[body.entitlement]
        same = self.reservations.of_request(body.pool, body.entitlement, body.request_id)
        if same is not None:
            again = reservation_of(same, desk=desk, url=self.url, now=now)
            return AdmittedDemoted(again) if same.demoted else Admitted(again)
        desk.refresh(now.mono_us)
        request_id = body.request_id or f"{self.incarnation}#{self.book.next_number()}"
        request = Request(body, request_id, desk.offer(account, body))
        self._withdraw(account, request, now)
        verdict = self._judge(desk, account, request, now)
        if self.is_shadow(desk) and not self.leaving:
            return self._admit_anyway(desk, account, request, verdict, now)
        if isinstance(verdict, Short):
            return self._refuse(desk, account, request, verdict, now)
        return self._admit(desk, request, verdict, now)

    def renew(self, reservation_id: str, *, output_tokens: int, now: Moment) -> RenewAnswer:
        """Keep a reservation alive; the answer may tell it to stop."""
        self.expire(now)
        found = self._find(reservation_id, now)
        if isinstance(found, Ended):
            return Unknown(f"the reservation has ended: {found.how}")
        if not isinstance(found, Open):
            return found
        desk = self.desks[found.pool]
        found.produced_tokens = max(found.produced_tokens, output_tokens)
        self.evictor.look(desk, found, now=now)
        self.evictor.tell(desk, found, shadow=self.is_shadow(desk), now=now)
        self.reservations.renew(found, now_us=now.mono_us)
        return Renewed(self._renewal(found, now))

    def settle(self, reservation_id: str, body: SettleBody, *, now: Moment) -> EndAnswer:
        """End a reservation with what it used.  After expiry it is charged late, and once.

        A repeated settlement whose admitter died in between is not adopted: it may have been
        settled there, and whoever is adopted counts as not settled.
        """
        self.expire(now)
        found = self._find(reservation_id, now, adopts=not body.repeated)
        used = TokenCounts(
            body.input_tokens,
            body.cache_read_tokens,
            body.cache_write_tokens,
            body.output_tokens,
            body.reasoning_tokens,
        )
        if isinstance(found, Open):
            completed = body.outcome == "ok"
            ended = self.book.settle(found, used, completed=completed, source=body.source, now=now)
            return _closed(reservation_id, ended, first=True)
        if isinstance(found, Ended):
            self.book.settle_late(found, used, source=body.source, now=now)
            return _closed(reservation_id, found, first=False)
        return found

    def release(self, reservation_id: str, *, now: Moment) -> EndAnswer:
        """End a reservation that used nothing."""
        self.expire(now)
        found = self._find(reservation_id, now)
        if isinstance(found, Open):
            return _closed(reservation_id, self.book.release(found, now=now), first=True)
        if isinstance(found, Ended):
            return _closed(reservation_id, found, first=False)
        return found

    def expire(self, now: Moment) -> None:
        """End every reservation whose time has run out."""
        for item in self.reservations.due(now.mono_us):
            self.book.expire(item, now=now)

    def is_shadow(self, desk: PoolDesk) -> bool:
        """Say whether decisions on this pool change nothing for the callers."""
        return self.shadow or desk.spec.policy.shadow

    def owner_named_by(self, reservation_id: str) -> tuple[str, str] | None:
        """Return pool and entitlement that an id names; None when its signature is not ours."""
        claims = self.signer.open_reservation(reservation_id)
        return None if claims is None else (claims.pool, claims.entitlement)

    @property
    def declared_dead(self) -> bool:
        """Whether a state says that this incarnation is dead: it must begin again, empty."""
        return any(desk.declared_dead for desk in self.desks.values())

    def reborn(self, incarnation: str, *, now: Moment) -> Gate:
        """Return the gate that follows this one: same pools and states, nothing held or ended."""
        gate = Gate(incarnation, self.url, self.signer, self.limits, self.leaving, self.shadow)
        for desk in self.desks.values():
            gate.follow_pool(desk.spec, now=now)
            if desk.state is not None:
                gate.follow_state(desk.state, now=now)
        return gate

    def _judge(
        self, desk: PoolDesk, account: Account, request: Request, now: Moment
    ) -> Fits | FitsDemoted | Short:
        if self.leaving:
            return Short(RefusalReason.NO_STATE)
        if self.reservations.is_full:
            return Short(RefusalReason.CONTENDED)
        demote = request.body.allow_demotion
        need = request.offer.need
        return desk.judge(account, need, may_demote=demote, now_us=now.mono_us)

    def _admit(
        self, desk: PoolDesk, request: Request, verdict: Fits | FitsDemoted, now: Moment
    ) -> Admitted | AdmittedDemoted:
        demoted = isinstance(verdict, FitsDemoted)
        in_common = isinstance(verdict, FitsDemoted) or verdict.in_common
        item = self._open(desk, request, demoted=demoted, in_common=in_common, now=now)
        if demoted:
            return AdmittedDemoted(reservation_of(item, desk=desk, url=self.url, now=now))
        eviction = self.evictor.call_back(desk, item, now=now)
        answer = reservation_of(item, desk=desk, url=self.url, now=now, eviction=eviction)
        return Admitted(answer, eviction)

    def _open(
        self, desk: PoolDesk, request: Request, *, demoted: bool, in_common: bool, now: Moment
    ) -> Open:
        number = self.book.next_number()
        claims = claims_of(request, desk=desk, number=number, demoted=demoted)
        return self.book.open(claims, in_common=in_common, request_id=request.request_id, now=now)

    def _admit_anyway(
        self,
        desk: PoolDesk,
        account: Account,
        request: Request,
        verdict: Fits | FitsDemoted | Short,
        now: Moment,
    ) -> Admitted:
        """Admit in its own class, in shadow mode; what would have been decided is noted."""
        in_common = not (isinstance(verdict, Fits) and not verdict.in_common)
        item = self._open(desk, request, demoted=False, in_common=in_common, now=now)
        if isinstance(verdict, Short):
            item.shadow_refusal = verdict.reason
            refused = account.counters.shadow_refused
            refused[verdict.reason] = refused.get(verdict.reason, 0) + 1
            reason, dimension = verdict.reason, verdict.dimension
            self.book.note(
                DecisionKind.REFUSED, item, now, reason=reason, dimension=dimension, shadow=True
            )
        elif isinstance(verdict, FitsDemoted):
            account.counters.shadow_demoted += 1
            self.book.note(DecisionKind.DEMOTED, item, now, shadow=True)
        else:
            self.evictor.call_back(desk, item, now=now)
        return Admitted(reservation_of(item, desk=desk, url=self.url, now=now))

    def _refuse(
        self, desk: PoolDesk, account: Account, request: Request, short: Short, now: Moment
    ) -> Refused:
        key = f"{account.spec.uid}/{request.request_id}"
        need = request.offer.need
        eviction = self.evictor.make_room(desk, account, need, short, key=key, now=now)
        answer = refusal_of(
            short, eviction=eviction, request=request, desk=desk, account=account, now=now
        )
        unique = request.request_id not in account.pending
        account.counters.refuse(short.reason, unique=unique)
        if short.reason.is_contention:
            ticket = unmet_of(
                request, desk=desk, account=account, retry_after_ms=answer.retry_after_ms, now=now
            )
            lapse_us = now.mono_us + ticket.lapse_ms * US_PER_MS
            account.pending.put(request.request_id, demand_of(ticket), lapse_us=lapse_us)
            answer = replace(answer, ticket=self.signer.seal_ticket(ticket))
        self._note_refusal(desk, account, request, answer, unique=unique, now=now)
        return Refused(answer, eviction)

    def _note_refusal(
        self,
        desk: PoolDesk,
        account: Account,
        request: Request,
        answer: Refusal,
        *,
        unique: bool,
        now: Moment,
    ) -> None:
        need = request.offer.need
        self.journal.note(
            DecisionKind.REFUSED,
            at_us=now.wall_us,
            pool=desk.spec.name,
            entitlement=account.spec.uid,
            tenant=account.spec.tenant,
            reason=answer.reason,
            dimension=answer.dimension,
            unique=unique,
            request_id=request.request_id,
            tokens=need.tokens,
            kv_bytes=need.kv_bytes,
            slots=need.slots,
            retry_after_ms=answer.retry_after_ms,
            state_version=desk.version,
            state_age_ms=desk.age_ms(now.mono_us),
        )

    def _withdraw(self, account: Account, request: Request, now: Moment) -> None:
        """Take a returned ticket: its demand no longer counts where it was refused.

        A ticket of our own needs nothing: a retry under the same id replaces its entry.
        """
        account.pending.lapse(now.mono_us)
        account.withdrawn.lapse(now.mono_us)
        ticket = self.signer.open_ticket(request.body.ticket) if request.body.ticket else None
        if ticket is None or ticket.incarnation == self.incarnation:
            return
        spec = account.spec
        left_ms = ticket.lapse_ms - max(0, now.wall_us - ticket.wall_us) // US_PER_MS
        if (ticket.pool, ticket.entitlement) == (spec.pool, spec.uid) and left_ms > 0:
            key = f"{ticket.incarnation}/{ticket.request_id}"
            lapse_us = now.mono_us + left_ms * US_PER_MS
            account.withdrawn.put(key, demand_of(ticket), lapse_us=lapse_us)

    def _find(
        self, reservation_id: str, now: Moment, *, adopts: bool = True
    ) -> Open | Ended | Elsewhere | Unknown | NotYet:
        """Return the reservation behind an id, taking it over when that is for us to do."""
        claims = self.signer.open_reservation(reservation_id)
        desk = None if claims is None else self.desks.get(claims.pool)
        if claims is None or desk is None:
            return Unknown()
        desk.refresh(now.mono_us)
        number = self.book.number_of(claims, incarnation=self.incarnation)
        if number is not None:
            return self.book.find(number) or Unknown()
        owner = owner_of(claims, desk)
        if owner is not Ours.ADOPT:
            return Unknown() if isinstance(owner, Ours) else owner
        if claims.entitlement not in desk.accounts:
            return Unknown("its entitlement was removed")
        if adopts:
            return self.book.adopt(claims, now=now)
        return self.book.settle_again(claims, now=now)

    def _renewal(self, item: Open, now: Moment) -> Renewal:
        left_ms = max(0, item.expires_us - now.mono_us) // US_PER_MS
        return Renewal(
            verdict="continue" if item.evict_us is None else "evict",
            reservation_id=item.reservation_id,
            adopted=item.adopted,
            renew_in_ms=item.renew_ms,
            expires_in_ms=left_ms,
            evict_in_ms=0 if item.evict_us is None else left_ms,
            evict_reason="" if item.evict_us is None else item.evict_reason,
            admitter_url=self.url,
        )


def _closed(reservation_id: str, ended: Ended, *, first: bool) -> Closed:
    return Closed(
        SettlementResult(
            reservation_id=reservation_id,
            first=first,
            ended=ended.how,
            late=ended.late,
            charged_tokens=ended.charged_tokens,
        )
    )
