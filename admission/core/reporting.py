"""Reporting: what this admitter holds, is owed and has refused of one pool, as ``AdmitterReport``.

Amounts are absolute and counters cumulative, so any report may be lost.  A report lists at most
``ENTITLEMENTS_MAX`` entitlements; a pool with more is told in several, none of them ``full``, each
with a sequence of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from admission.core.account import Account, Counters
from admission.core.pool import PoolDesk
from admission.core.reservations import Reservations
from schemas.reports import AdmitterReport, Adoption, EntitlementReport
from schemas.units import MS_PER_S, US_PER_MS, Held, Resources

ENTITLEMENTS_MAX: Final = 800
"""In one report: keeps it well below a record's 1 MiB."""
SOURCES_EVERY: Final = 10
"""Settled tokens by source are told in one of so many rounds: they are compared by the minute."""


def reports_of(
    desk: PoolDesk, reservations: Reservations, *, url: str, leaving: bool, now_us: int
) -> Iterator[AdmitterReport]:
    """Yield the pool's reports of this tick; each is noted in the lease as sent at ``now_us``."""
    past = _past_estimates(desk.spec.name, reservations)
    desk.rounds += 1
    lines = [
        _line(
            account,
            desk=desk,
            past_tokens=past.get(uid, 0),
            by_source=leaving or (desk.rounds + index) % SOURCES_EVERY == 0,
            now_us=now_us,
        )
        for index, (uid, account) in enumerate(desk.accounts.items())
        if _has_anything(account, now_us)
    ]
    chunks = [lines[at : at + ENTITLEMENTS_MAX] for at in range(0, len(lines), ENTITLEMENTS_MAX)]
    last_expiry_us = reservations.last_expiry_us(desk.spec.name)
    ttls_ms = [item.ttl_ms for item in reservations if item.pool == desk.spec.name]
    for chunk in chunks or [[]]:
        desk.sequence += 1
        desk.lease.sent(desk.sequence, now_us=now_us)
        yield AdmitterReport(
            pool=desk.spec.name,
            incarnation=desk.incarnation,
            url=url,
            sequence=desk.sequence,
            applied=desk.version,
            full=len(chunks) <= 1,
            leaving=leaving,
            expires_in_ms=max(0, last_expiry_us - now_us) // US_PER_MS,
            ttl_ms_max=max(ttls_ms, default=0),
            state_age_ms=desk.age_ms(now_us),
            entitlements=tuple(chunk),
            adoptions=_adoptions(desk),
        )


def _adoptions(desk: PoolDesk) -> tuple[Adoption, ...]:
    return tuple(
        Adoption(incarnation=incarnation, entitlement=entitlement, adopted=adopted)
        for (incarnation, entitlement), adopted in desk.adoptions.items()
    )


def _past_estimates(pool: str, reservations: Reservations) -> dict[str, int]:
    """Return by entitlement how far open reservations are past what was expected of them."""
    past: dict[str, int] = {}
    for item in reservations:
        if item.pool == pool and item.past_estimate_tokens:
            past[item.entitlement] = past.get(item.entitlement, 0) + item.past_estimate_tokens
    return past


def _has_anything(account: Account, now_us: int) -> bool:
    account.pending.lapse(now_us)
    account.withdrawn.lapse(now_us)
    counters = account.counters
    return bool(
        counters != Counters()
        or account.held != Held()
        or account.pending.entries
        or account.withdrawn.entries
    )


def _line(
    account: Account, *, desk: PoolDesk, past_tokens: int, by_source: bool, now_us: int
) -> EntitlementReport:
    counters = account.counters
    mean_ms, held_ms = account.duration.mean_ms, account.held_duration.mean_ms
    above = Held(account.common_tokens, account.kv_bytes_above, account.slots_above)
    common_rate = account.common_tokens * MS_PER_S // (held_ms or MS_PER_S)
    return EntitlementReport(
        entitlement=account.spec.uid,
        held=account.held,
        held_above_share=above,
        held_demoted=Held(0, account.demoted_kv_bytes, account.demoted_slots),
        held_in_common=Resources(common_rate, above.kv_bytes, above.slots),
        pending=account.pending.total,
        withdrawn=account.withdrawn.total,
        expected_duration_ms=mean_ms,
        held_duration_ms=held_ms,
        largest_request_tokens=account.largest.value(
            now_us=now_us, window_ms=desk.spec.leases.lease_ms
        ),
        estimator_error_tokens=past_tokens,
        level_tokens=account.share.level_tokens(now_us),
        admitted=counters.admitted,
        demoted=counters.demoted,
        settled=counters.settled,
        released=counters.released,
        expired=counters.expired,
        evicted=counters.evicted,
        late_settled=counters.late_settled,
        reserved_tokens=counters.reserved_tokens,
        settled_tokens=counters.settled_tokens,
        settled_by_source=dict(counters.settled_by_source) if by_source else {},
        estimated=account.estimates.seen,
        estimates_covered=account.estimates.covered,
        estimate_over_tokens=account.estimates.over_tokens,
        estimate_under_tokens=account.estimates.under_tokens,
        refused=dict(counters.refused),
        attempts=dict(counters.attempts),
    )
