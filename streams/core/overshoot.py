"""Overshoot: how far may admitters exceed capacity right now, and how far do they?

KV cache and slots: all that may be held now, less capacity.  That is

* the *reach* of ``streams.core.shares``: shares and common parts under any state that an admitter
  may still follow, what it holds above them, and what the dead held last;
* what the dead may have admitted after their last report (``incarnations.unreported``);
* the static safe shares of those who fell silent, or who report but hear nothing.

What exceeds capacity in it is idle floors that are lent, cuts not yet acknowledged, capacity just
lost, and what nobody has reported.  Headroom is subtracted only where nobody can take it: a burst
of a dedicated or elastic entitlement may fill it, so a pool that has one keeps no slot free.

A silent incarnation follows the state that it applied last.  Where homes moved away from it after
that state, it may believe to be home of them still, beside the one that is home now; then its
static safe share is counted as if it were home of everything.

Throughput: in *tokens*, over any window, beyond capacity × window and the buckets' depths: the
largest admitted request of each bucket, the error of open estimates, and the rate promised above
capacity for as long as an admitter may not have heard of its cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from schemas.ledger import AdmitterRecord, ShareRecord, TickRecord
from schemas.pools import Pool
from schemas.positions import NO_VERSION
from schemas.reports import AdmitterReport
from schemas.units import (
    MS_PER_S,
    NOTHING,
    US_PER_MS,
    Held,
    Resources,
    ceil_div,
)
from streams.core.followed import Followed, widest
from streams.core.incarnations import is_silent
from streams.core.reports import Reported


def bound(
    *,
    reach: Resources,
    capacity: Resources,
    safe: Resources,
    unreported: Resources = NOTHING,
    reports: Iterable[AdmitterReport],
    unheard_ms: int,
) -> Resources:
    """Return the exported bound: tokens, bytes and slots above capacity.

    ``reach`` is what may be held (tokens/s: promised), ``safe`` the static safe shares,
    ``unreported`` what the dead may hold besides, and ``unheard_ms`` how long a cut may go unheard.
    """
    over = (reach + safe + unreported - capacity).at_least(NOTHING)
    late = ceil_div(over.tokens_per_s * unheard_ms, MS_PER_S)
    return Resources(late + _open_tokens(reports), over.kv_bytes, over.slots)


def _open_tokens(reports: Iterable[AdmitterReport]) -> int:
    """Return one largest request per bucket plus the errors of estimates still open."""
    return sum(
        item.largest_request_tokens + item.estimator_error_tokens
        for report in reports
        for item in report.entitlements
    )


def believed_homes(record: TickRecord, item: AdmitterRecord) -> frozenset[str] | None:
    """Return the entitlements that it believes to be home of; None: perhaps of all.

    ``record`` is of the last tick in which it lived.
    """
    if item.applied < record.homes_lost.get(item.incarnation, NO_VERSION):
        return None
    return frozenset(uid for uid, home in record.homes.items() if home == item.incarnation)


def with_safe_shares(
    admitters: Sequence[AdmitterRecord], record: TickRecord, pool: Pool
) -> tuple[AdmitterRecord, ...]:
    """Return the records, those newly dead by silence with their static safe shares."""
    return tuple(
        msgspec.structs.replace(item, safe=_safe(record, item, pool))
        if is_silent(item) and item.safe is None
        else item
        for item in admitters
    )


def deaf_extras(
    live: Mapping[str, AdmitterRecord],
    reports: Iterable[Reported],
    followed: Followed,
    record: TickRecord,
    pool: Pool,
    *,
    now_us: int,
) -> dict[str, Resources]:
    """Return what static safe shares add to the shares of those that live but may hear nothing.

    An admitter degrades by the age of its state, which this owner knows only from reports that
    were on their way for some time.  So it is counted as soon as its lease may be over: a report
    may take ``hold_s`` to arrive.  One that this owner has not heard yet is counted too.
    """
    lease_us = pool.leases.lease_ms * US_PER_MS
    ages = {
        each.report.incarnation: each.report.state_age_ms * US_PER_MS + now_us - each.received_us
        for each in reports
    }
    floors = _floors(pool)
    return {
        name: _safe(
            record,
            item,
            pool,
            beyond={uid: _usable(followed.get((uid, name), ())) for uid in floors},
        )
        for name, item in live.items()
        if ages.get(name, lease_us + 1) > lease_us
    }


def _usable(chain: Sequence[ShareRecord]) -> Resources:
    floor, grant = widest(chain)
    return floor.at_least(grant)


def _floors(pool: Pool) -> dict[str, Resources]:
    return {uid: each.floor for uid, each in pool.entitlements.items() if each.floor != NOTHING}


def _safe(
    record: TickRecord,
    item: AdmitterRecord,
    pool: Pool,
    *,
    beyond: Mapping[str, Resources] | None = None,
) -> Resources:
    """Return its static safe shares, of each only what exceeds ``beyond``."""
    homes = believed_homes(record, item)
    total = NOTHING
    for uid, floor in _floors(pool).items():
        at_home = homes is None or uid in homes
        part = safe_part(floor, admitters_max=pool.leases.admitters_max, at_home=at_home)
        total += part if beyond is None else (part - beyond[uid]).at_least(NOTHING)
    return total


def safe_part(floor: Resources, *, admitters_max: int, at_home: bool) -> Resources:
    """Return one static safe share, as ``admission.core.staleness`` gives it.

    Each keeps floor / ``admitters_max`` (rounded down), and as last home what the others leave.
    """
    part = floor.split(admitters_max)
    return floor - part.times(admitters_max - 1) if at_home else part


def kept_headroom(pool: Pool, *, uids: Iterable[str], admitters: int) -> int:
    """Return the slots of headroom per admitter that no request can take.

    None where an entitlement may burst, or where one is followed that is in no spec any more.
    Each admitter keeps headroom / (admitters of its state), at least that rounded down; which state
    that is is not known, so at most ``admitters_max`` are assumed.
    """
    bursting = any(
        each.service_class.may_burst and each.service_class.has_baseline
        for each in pool.entitlements.values()
    )
    if bursting or not pool.headroom_slots or not pool.entitlements.keys() >= set(uids):
        return 0
    return pool.headroom_slots // max(admitters, pool.leases.admitters_max)


def excess(*, held: Held, served_tokens_per_s: int, capacity: Resources) -> Resources:
    """Return how far holdings and the served rate exceed capacity; nothing where they do not."""
    use = Resources(served_tokens_per_s, held.kv_bytes, held.slots)
    return (use - capacity).at_least(NOTHING)
