"""Token pools as a policy: the product's own functions under a virtual clock.

``TokenPools`` joins production admitters (``Door``), the present owner of the pool's partition and
former ones that do not know (``Group``), the usage log with its truth (``UsageLog``) and a
simulated Kafka between them (``Topic``).  No rule is written here twice: whatever is decided is
decided in ``admission.core`` and ``streams.core``.

    pools = TokenPools(pool, seed="7", doors=4, faults=MILD, tell=print)
    pools.resize(ready=2, starting=0, draining=0, now_us=0)      # once, before anything else
    answer = pools.reserve(Ask(...), door=0, now_us=0)            # Granted | Denied | NotNow
    while (due_us := pools.next_event_us()) is not None and due_us <= 60_000_000:
        pools.advance(now_us=due_us)

``respec`` applies another spec on the way.  Not modelled: calls that an admitter which stands still
reads when it wakes, after its gateway has given up.

Everything has been running for ``WARM_UP_US`` before world time 0, without faults, so the first
request finds admitters with shares.  The story's times may therefore be negative.

For who judges the world (all read-only; nothing of it is known to any process):

* ``admitters``: the doors, each with ``index``, ``url``, ``clock``, ``gate`` (None: down),
  ``desk``, ``incarnation``, ``paused_until_us``, ``decisions``; ``moment(us)`` reads its clocks;
* ``graves``: reservations of ended incarnations that may still run, until when;
* ``held(uid)``: everything held now, graves included;
* ``ticks``: the last acknowledged tick outcomes; ``record``: the last acknowledged tick record;
* ``published``: the last parts of ``admission-state`` written, those of former owners included;
* ``ledger``, ``expected``: totals by entitlement, and what they must be at the same position;
* ``verdict_counts``, ``events_read``: of one partition, by the present owner;
* ``capacity_now``: what the last tick believed; ``ready_now``: the truth;
* ``message_counts``: by topic; ``happened``: the timed faults; ``steps``: actions so far.
"""

from __future__ import annotations

from typing import Final

from admission.core.answers import (
    AdmittedDemoted,
    Closed,
    NotYet,
    Refused,
    Renewed,
    ReserveAnswer,
)
from admission.core.answers import Elsewhere as Misdirected
from schemas.reservations import Refusal, ReserveBody, SettleBody
from schemas.units import NO_TOKENS, US_PER_MS, TokenCounts
from simulation.policy import (
    Ask,
    Denied,
    Elsewhere,
    Ended,
    Granted,
    Kept,
    NotNow,
    Priority,
    Unknown,
    Usage,
)
from simulation.pools.door import Door
from simulation.pools.floors import is_inside_floor
from simulation.pools.machine import Machine

RETRY_DOWN_US: Final = 500_000
"""When a gateway asks a door again that did not answer."""
UNKNOWN_ENTITLEMENT: Final = "unknown_entitlement"
"""404: the admitter's spec has no such entitlement (yet, or any more)."""
UNANSWERED_MAX: Final = 10_000
"""Settlements without an answer that gateways remember, the oldest forgotten first."""


class TokenPools(Machine):
    """The product, as a ``Policy``."""

    @property
    def name(self) -> str:
        """As it is called on the screen."""
        return "token-pools"

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted | Denied | NotNow:
        """Ask one admitter."""
        self.advance(now_us=now_us)
        at = self.admitters[door]
        admitter = at.answers(now_us)
        if admitter is None:
            return NotNow(retry_in_us=RETRY_DOWN_US)
        body = _body(ask, pool=self.pool.name)
        if ask.entitlement not in admitter.gate.desks[self.pool.name].spec.entitlements:
            return Denied(reason=UNKNOWN_ENTITLEMENT)
        answer = admitter.gate.reserve(body, now=at.moment(now_us))
        evict = self._victims(answer, door=at, now_us=now_us)
        if isinstance(answer, Refused):
            return self._denied(answer.refusal, body, door=at, now_us=now_us)
        reservation = answer.reservation
        return Granted(
            handle=reservation.reservation_id,
            door=door,
            served_class=reservation.served_class,
            demoted=isinstance(answer, AdmittedDemoted),
            renew_in_us=reservation.renew_in_ms * US_PER_MS,
            evict=evict,
        )

    def renew(
        self, handle: str, *, door: int, output_tokens: int, now_us: int
    ) -> Kept | Elsewhere | Unknown | NotNow:
        """Renew at one admitter."""
        self.advance(now_us=now_us)
        at = self.admitters[door]
        admitter = at.answers(now_us)
        if admitter is None:
            return NotNow(retry_in_us=RETRY_DOWN_US)
        answer = admitter.gate.renew(handle, output_tokens=output_tokens, now=at.moment(now_us))
        if not isinstance(answer, Renewed):
            return self._elsewhere(answer)
        renewal = answer.renewal
        if renewal.adopted and self._close_grave(handle):
            self._tell(now_us, at.name, "adopts", self._named(handle))
        stops = renewal.verdict == "evict"
        if stops:
            self._tell(now_us, at.name, "evicts", self._named(handle))
        return Kept(
            handle=renewal.reservation_id,
            door=door,
            renew_in_us=renewal.renew_in_ms * US_PER_MS,
            stop_in_us=renewal.evict_in_ms * US_PER_MS if stops else None,
        )

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended | Elsewhere | Unknown | NotNow:
        """Settle at one admitter; what used nothing and did not complete is released."""
        self.advance(now_us=now_us)
        self._close_grave(handle)
        at = self.admitters[door]
        admitter = at.answers(now_us)
        if admitter is None:
            self._note_unanswered(handle, at)
            return NotNow(retry_in_us=RETRY_DOWN_US)
        now = at.moment(now_us)
        if used == NO_TOKENS and not completed:
            answer = admitter.gate.release(handle, now=now)
        else:
            repeated = handle in self._unanswered
            body = _settlement(used, completed=completed, repeated=repeated)
            answer = admitter.gate.settle(handle, body, now=now)
        if not isinstance(answer, Closed):
            return self._elsewhere(answer)
        self._unanswered.pop(handle, None)
        return Ended(first=answer.result.first, late=answer.result.late)

    def meter(self, usage: Usage, *, now_us: int) -> None:
        """Emit one usage event."""
        self._log.send(usage, now_us=now_us)

    def priorities(self) -> dict[str, Priority]:
        """Return debts and weights as the last tick left them."""
        outputs = self.ticks[-1].tick.outputs if self.ticks else ()
        return {
            each.entitlement: Priority(
                weight_ppm=each.weight_ppm, debt_ppm=each.debt_ppm, burst_ppm=each.burst_ppm
            )
            for each in outputs
        }

    def replicas_wanted(self, *, now_us: int) -> int | None:
        """Return what the autoscaler asks for."""
        return self._scaler.wanted(now_us)

    def _denied(self, refusal: Refusal, body: ReserveBody, *, door: Door, now_us: int) -> Denied:
        inside = is_inside_floor(
            body,
            pool=self.pool,
            asked=door,
            doors=self.admitters,
            graves=self.graves,
            dimension=refusal.dimension,
            now_us=now_us,
        )
        self._tell(
            now_us,
            door.name,
            "refuses",
            f"{body.entitlement} {refusal.reason} {refusal.dimension or ''}"
            f"{' inside its floor' if inside else ''}",
        )
        return Denied(
            reason=refusal.reason,
            dimension=refusal.dimension or "",
            retry_after_us=refusal.retry_after_ms * US_PER_MS,
            ticket=refusal.ticket,
            home=self._door_at(refusal.home_url),
            home_has_all=refusal.limit == 0,
            inside_floor=inside,
        )

    def _note_unanswered(self, handle: str, door: Door) -> None:
        """Note a settlement that an admitter which stands still may yet carry out, for all that
        its gateway knows; one that is down has refused the connection."""
        if door.admitter is None:
            return
        self._unanswered[handle] = None
        if len(self._unanswered) > UNANSWERED_MAX:
            del self._unanswered[next(iter(self._unanswered))]

    def _victims(self, answer: ReserveAnswer, *, door: Door, now_us: int) -> tuple[str, ...]:
        """Return who makes room for the request; their ids never leave an admitter otherwise."""
        eviction = None if isinstance(answer, AdmittedDemoted) else answer.eviction
        ids = () if eviction is None else eviction.reservation_ids
        for victim in ids:
            self._tell(now_us, door.name, "evicts", self._named(victim))
        return ids

    def _elsewhere(self, answer: Misdirected | NotYet | object) -> Elsewhere | Unknown | NotNow:
        if isinstance(answer, NotYet):
            return NotNow(retry_in_us=answer.retry_after_ms * US_PER_MS)
        door = self._door_at(answer.owner_url) if isinstance(answer, Misdirected) else None
        return Unknown() if door is None else Elsewhere(door=door)

    def _door_at(self, url: str) -> int | None:
        return next((door.index for door in self.admitters if door.url == url), None)

    def _close_grave(self, handle: str) -> bool:
        if not len(self.graves):
            return False
        claims = self.admitters[0].signer.open_reservation(handle)
        return claims is not None and (
            self.graves.close((claims.incarnation, claims.number)) is not None
        )

    def _named(self, handle: str) -> str:
        """Return what a story calls a reservation."""
        claims = self.admitters[0].signer.open_reservation(handle)
        return (
            "?" if claims is None else f"{claims.entitlement} {claims.incarnation}#{claims.number}"
        )


def _body(ask: Ask, *, pool: str) -> ReserveBody:
    return ReserveBody(
        pool=pool,
        entitlement=ask.entitlement,
        request_id=ask.request_id,
        input_tokens=ask.input_tokens,
        cached_input_tokens=ask.cached_input_tokens,
        max_tokens=ask.max_tokens,
        n=ask.n,
        allow_demotion=ask.allow_demotion,
        can_renew=ask.can_renew,
        ticket=ask.ticket,
    )


def _settlement(used: TokenCounts, *, completed: bool, repeated: bool) -> SettleBody:
    return SettleBody(
        input_tokens=used.input_tokens,
        cache_read_tokens=used.cache_read_tokens,
        cache_write_tokens=used.cache_write_tokens,
        output_tokens=used.output_tokens,
        reasoning_tokens=used.reasoning_tokens,
        outcome="ok" if completed else "aborted",
        repeated=repeated,
    )
