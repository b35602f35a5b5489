"""Opening: the words of an answer to ``POST /v1/reservations``, and what a refusal counts as."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from admission.core.account import Account
from admission.core.decision import Short
from admission.core.eviction import Eviction
from admission.core.moment import Moment
from admission.core.pool import Offer, PoolDesk
from admission.core.reservations import Open
from admission.core.retry import wait_for_drain_ms, wait_for_slot_ms, with_jitter_ms
from admission.core.tokens import ReservationClaims, TicketClaims
from schemas.decisions import RefusalReason
from schemas.reservations import Evicting, Refusal, Reservation, ReserveBody
from schemas.specs import ServiceClass
from schemas.units import MS_PER_S, US_PER_MS, Dimension, Resources, ceil_div

RENEWALS_PER_TTL: Final = 3
LAPSE_TICKS: Final = 2
"""A refused request counts as demand for so many ticks after its Retry-After."""

_MESSAGES: Final = {
    RefusalReason.LIMIT_REACHED: "the entitlement is at its own limit",
    RefusalReason.CONTENDED: "the pool has nothing left above this entitlement's share",
    RefusalReason.SHARE_EXHAUSTED: "this admitter's part of the floor is used up",
    RefusalReason.NOT_BOUND: "the entitlement is not bound",
    RefusalReason.STATE_STALE: "the admission state is stale and this class has stopped",
    RefusalReason.NO_STATE: "this admitter has no state of the pool yet",
    RefusalReason.IMPOSSIBLE: "the request can never fit",
}


class Request(Struct, frozen=True, gc=False):
    """A request on its way through the gate."""

    body: ReserveBody
    request_id: str
    """The client's, or one made up for a request that has none."""
    offer: Offer


def claims_of(request: Request, *, desk: PoolDesk, number: int, demoted: bool) -> ReservationClaims:
    """Return what the id of a new reservation says."""
    body, need = request.body, request.offer.need
    spec = desk.spec
    renew_ms = spec.leases.renew_seconds * MS_PER_S if body.can_renew else 0
    ttl_ms = RENEWALS_PER_TTL * spec.leases.renew_seconds * MS_PER_S
    if not body.can_renew:
        slowest = spec.decode_tokens_per_s_min
        ttl_ms += ceil_div(request.offer.max_tokens * MS_PER_S, slowest)
    own_class = spec.entitlements[body.entitlement].service_class
    return ReservationClaims(
        pool=body.pool,
        entitlement=body.entitlement,
        incarnation=desk.incarnation,
        number=number,
        tokens=need.tokens,
        kv_bytes=need.kv_bytes,
        slots=need.slots,
        output_tokens=request.offer.output_tokens,
        served_class=ServiceClass.SPOT if demoted else own_class,
        demoted=demoted,
        renew_ms=renew_ms,
        ttl_ms=ttl_ms,
        version=desk.version,
        max_tokens=request.offer.max_tokens,
    )


def open_of(
    claims: ReservationClaims, *, reservation_id: str, in_common: bool, now: Moment
) -> Open:
    """Return the open reservation that an id stands for, its life beginning now.

    A call with more than 15 keywords goes through a dict and takes four times as long.
    """
    return Open(
        claims.number,
        reservation_id,
        claims.pool,
        claims.entitlement,
        tokens=claims.tokens,
        kv_bytes=claims.kv_bytes,
        slots=claims.slots,
        output_tokens=claims.output_tokens,
        max_tokens=claims.max_tokens,
        served_class=claims.served_class,
        demoted=claims.demoted,
        in_common=in_common,
        started_us=now.mono_us,
        expires_us=now.mono_us + claims.ttl_ms * US_PER_MS,
        ttl_ms=claims.ttl_ms,
        renew_ms=claims.renew_ms,
        renewed_us=now.mono_us,
    )


def reservation_of(
    item: Open, *, desk: PoolDesk, url: str, now: Moment, eviction: Eviction | None = None
) -> Reservation:
    """Return the answer that lets a request start."""
    spec = desk.accounts[item.entitlement].spec
    return Reservation(
        reservation_id=item.reservation_id,
        pool=item.pool,
        entitlement=item.entitlement,
        tenant=spec.tenant,
        model=desk.spec.model,
        service_class=spec.service_class,
        served_class=item.served_class,
        demoted=item.demoted,
        reserved_tokens=item.tokens,
        kv_bytes=item.kv_bytes,
        slots=item.slots,
        max_tokens=item.max_tokens,
        renew_in_ms=item.renew_ms,
        expires_in_ms=max(0, item.expires_us - now.mono_us) // US_PER_MS,
        admitter_url=url,
        state_version=desk.version_text,
        state_age_ms=desk.age_ms(now.mono_us),
        shadow_refusal=item.shadow_refusal,
        evicting=evicting_of(eviction),
    )


def refusal_of(
    short: Short,
    *,
    eviction: Eviction | None,
    request: Request,
    desk: PoolDesk,
    account: Account,
    now: Moment,
) -> Refusal:
    """Return the answer that refuses a request, still without its ticket."""
    retry_ms = 0
    if short.reason is not RefusalReason.IMPOSSIBLE:
        wait_ms = (
            _wait_ms(short, desk=desk, account=account, now=now)
            if eviction is None
            else eviction.gone_in_ms
        )
        retry_ms = with_jitter_ms(wait_ms, request_id=request.request_id)
    return Refusal(
        message=_message(short),
        code=short.reason,
        reason=short.reason,
        dimension=short.dimension,
        pool=desk.spec.name,
        entitlement=account.spec.uid,
        service_class=account.spec.service_class,
        limit=short.limit,
        retry_after_ms=retry_ms,
        home_url=account.room.home_url if _is_better_at_home(short, request, account) else "",
        evicting=evicting_of(eviction),
    )


def evicting_of(eviction: Eviction | None) -> Evicting | None:
    """Return what of an eviction others may know: how much, never whose."""
    if eviction is None or not eviction.reservation_ids:
        return None
    return Evicting(
        requests=len(eviction.reservation_ids), slots=eviction.slots, kv_bytes=eviction.kv_bytes
    )


def unmet_of(
    request: Request, *, desk: PoolDesk, account: Account, retry_after_ms: int, now: Moment
) -> TicketClaims:
    """Return what a refusal counts as: tokens per second of its expected duration, KV, slots."""
    need = request.offer.need
    duration_ms = max(1, account.duration.mean_ms or MS_PER_S)
    return TicketClaims(
        pool=desk.spec.name,
        entitlement=account.spec.uid,
        incarnation=desk.incarnation,
        request_id=request.request_id,
        tokens_per_s=ceil_div(need.tokens * MS_PER_S, duration_ms),
        kv_bytes=need.kv_bytes,
        slots=need.slots,
        lapse_ms=retry_after_ms + LAPSE_TICKS * desk.spec.policy.tick_ms,
        wall_us=now.wall_us,
    )


def demand_of(ticket: TicketClaims) -> Resources:
    """Return the demand that a ticket stands for."""
    return Resources(ticket.tokens_per_s, ticket.kv_bytes, ticket.slots)


def _wait_ms(short: Short, *, desk: PoolDesk, account: Account, now: Moment) -> int:
    tick_ms = desk.spec.policy.tick_ms
    if short.dimension is None:
        return LAPSE_TICKS * tick_ms
    if short.dimension is Dimension.THROUGHPUT:
        return wait_for_drain_ms(desk.wait_us(account, now.mono_us), tick_ms=tick_ms)
    running = account.slots or desk.held.slots
    return wait_for_slot_ms(account.duration.mean_ms, running=running, tick_ms=tick_ms)


def _message(short: Short) -> str:
    text = _MESSAGES[short.reason]
    return text if short.dimension is None else f"{text} in {short.dimension} ({short.limit})"


def _is_better_at_home(short: Short, request: Request, account: Account) -> bool:
    """The home has the rest of the floor, and the rest of a ceiling too small to split."""
    if short.reason is RefusalReason.SHARE_EXHAUSTED:
        return True
    need, ceiling = request.offer.need, account.room.ceiling
    too_small = need.slots > ceiling.slots or need.kv_bytes > ceiling.kv_bytes
    return short.reason is RefusalReason.LIMIT_REACHED and too_small
