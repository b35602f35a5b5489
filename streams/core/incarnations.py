"""Incarnations: which admitters are alive, and how long do the holdings of the dead count?

An incarnation is dead once it said ``leaving``, another one reported under its URL, or nothing was
received from it for lease + hold.  Death is final: a dead one that wakes starts again as a new
incarnation.  What it held last counts until the latest expiry that it reported.  What it may have
admitted after its last report is nobody's loss but the bound's: up to its *reach* (the most that
its shares and its common part allowed when it was last alive), until the latest expiry that it
can have given.  One that leaves reports after it has stopped admitting, so it has no such rest.
All times are the tick owner's clock; a new owner starts them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from schemas.ledger import AdmitterRecord
from schemas.reports import AdmitterReport
from schemas.specs import Leases
from schemas.units import MS_PER_S, NOTHING, NOTHING_HELD, US_PER_MS, US_PER_S, Held, Resources
from streams.core.reports import Reported

SILENT_KEPT_US: Final = 3_600 * US_PER_S
"""How long a silent incarnation is remembered: it may still serve from its static safe share."""
CLOCK_GAP_US_MAX: Final = 10 * US_PER_S
"""How far the clocks of two owners may be apart; further, and an admitter may be buried alive."""
RENEWALS_PER_TTL: Final = 3
"""A reservation that can be renewed lives for so many ``renew_s`` at a time."""


def patience_us(leases: Leases) -> int:
    """Return how long an incarnation may be silent: lease + hold."""
    return leases.lease_ms * US_PER_MS + leases.hold_seconds * US_PER_S


def silent_us_max(leases: Leases) -> int:
    """Return for how long a silent incarnation's report is kept: long after it is dead."""
    return 2 * patience_us(leases)


def taken_over(
    previous: Sequence[AdmitterRecord], *, at_us: int, now_us: int, leases: Leases
) -> tuple[AdmitterRecord, ...]:
    """Return the former owner's records in the new owner's clock; ``at_us`` is their time.

    Everybody gets the full time again, because the clocks may differ.  What is over by more than
    lease + hold however the clocks differ (by ``CLOCK_GAP_US_MAX`` at most) is believed to be over:
    such a holding no longer counts, and such an admitter has one lease to be heard (a whole restart
    would else wait for the dead).
    """
    patience = patience_us(leases) + CLOCK_GAP_US_MAX

    def moved(record: AdmitterRecord) -> AdmitterRecord:
        received_us, until_us = now_us, record.counts_until_us
        if not record.alive:
            received_us = record.received_us - at_us + now_us
        elif now_us - record.received_us > patience:
            received_us = now_us - leases.hold_seconds * US_PER_S
        if now_us - until_us <= patience:
            until_us = max(0, until_us - at_us) + now_us
        return msgspec.structs.replace(
            record,
            received_us=received_us,
            counts_until_us=until_us,
            reach_until_us=max(0, record.reach_until_us - at_us) + now_us,
        )

    return tuple(moved(record) for record in previous)


def census(
    previous: Sequence[AdmitterRecord],
    reports: Sequence[Reported],
    *,
    now_us: int,
    leases: Leases,
) -> tuple[AdmitterRecord, ...]:
    """Return every incarnation that still matters, dead or alive, sorted by name."""
    known = {record.incarnation: record for record in previous}
    patience = patience_us(leases)
    for reported in sorted(reports, key=lambda item: (item.received_us, item.report.incarnation)):
        name = reported.report.incarnation
        if name in known:
            known[name] = _updated(known[name], reported)
        elif now_us - reported.received_us <= patience and not _is_former(reported, known):
            _replace_at_url(known, reported, now_us=now_us, leases=leases)
            known[name] = _recorded(reported)
    dead = (_buried(record, now_us=now_us, leases=leases) for record in known.values())
    kept = [record for record in dead if _matters(record, now_us=now_us, patience_us=patience)]
    return tuple(sorted(_bounded(kept, now_us=now_us, leases=leases), key=_name))


def alive(records: Sequence[AdmitterRecord]) -> dict[str, AdmitterRecord]:
    """Return the live ones by incarnation, in the order of their names."""
    return {record.incarnation: record for record in records if record.alive}


def is_silent(record: AdmitterRecord) -> bool:
    """Say whether it is dead by silence alone, so that it may still serve on its own."""
    return not (record.alive or record.replaced_by or record.left)


def orphaned(
    records: Sequence[AdmitterRecord], reports: Sequence[Reported], *, now_us: int
) -> dict[str, Held]:
    """Return what dead incarnations may still hold by entitlement, less what was adopted."""
    adopted = _adopted(reports)
    left: dict[str, Held] = {}
    for record in records:
        for uid, rest in _rests(record, adopted, now_us=now_us):
            left[uid] = left.get(uid, NOTHING_HELD) + rest
    return left


def unreported(
    records: Sequence[AdmitterRecord], reports: Sequence[Reported], *, now_us: int
) -> Resources:
    """Return what dead incarnations may hold beyond what ``orphaned`` counts.

    All that one still holds was in its reach and has not been adopted.
    """
    adopted = _adopted(reports)
    total = NOTHING
    for record in records:
        if record.alive or record.reach_until_us <= now_us:
            continue
        known = _sum(rest for _, rest in _rests(record, adopted, now_us=now_us))
        taken = _sum(held for key, held in adopted.items() if key[0] == record.incarnation)
        gone = known + taken
        rest = record.reach - Resources(record.reach.tokens_per_s, gone.kv_bytes, gone.slots)
        total += rest.at_least(NOTHING)
    return total


def _adopted(reports: Sequence[Reported]) -> dict[tuple[str, str], Held]:
    """Return what was adopted of each dead incarnation and entitlement."""
    adopted: dict[tuple[str, str], Held] = {}
    for reported in reports:
        for item in reported.report.adoptions:
            key = (item.incarnation, item.entitlement)
            adopted[key] = adopted.get(key, NOTHING_HELD) + item.adopted
    return adopted


def _rests(
    record: AdmitterRecord, adopted: Mapping[tuple[str, str], Held], *, now_us: int
) -> Iterator[tuple[str, Held]]:
    """Yield what of a dead incarnation's last holdings still counts, by entitlement."""
    if record.alive or record.counts_until_us <= now_us:
        return
    for uid, held in record.held.items():
        rest = held - adopted.get((record.incarnation, uid), NOTHING_HELD)
        yield uid, Held(max(0, rest.tokens), max(0, rest.kv_bytes), max(0, rest.slots))


def _sum(amounts: Iterable[Held]) -> Held:
    total = NOTHING_HELD
    for amount in amounts:
        total += amount
    return total


def _recorded(reported: Reported) -> AdmitterRecord:
    report = reported.report
    return AdmitterRecord(
        incarnation=report.incarnation,
        url=report.url,
        alive=not report.leaving,
        sequence=report.sequence,
        applied=report.applied,
        received_us=reported.received_us,
        counts_until_us=reported.received_us + _outlives_ms(report) * US_PER_MS,
        held=_held(report),
        left=report.leaving,
        ttl_ms_max=report.ttl_ms_max,
    )


def _outlives_ms(report: AdmitterReport) -> int:
    """Return how long what it holds may live; one that leaves may renew it once more."""
    if report.leaving and _held(report):
        return max(report.expires_in_ms, report.ttl_ms_max)
    return report.expires_in_ms


def _held(report: AdmitterReport) -> dict[str, Held]:
    return {
        item.entitlement: item.held for item in report.entitlements if item.held != NOTHING_HELD
    }


def _updated(record: AdmitterRecord, reported: Reported) -> AdmitterRecord:
    """Death is final; an older sequence says nothing new.

    The dead are remembered for as long as their last report is, or it would name a newcomer.
    """
    if not record.alive:
        received_us = max(record.received_us, reported.received_us)
        return msgspec.structs.replace(record, received_us=received_us)
    if reported.report.sequence < record.sequence:
        return record
    reach = NOTHING if reported.report.leaving else record.reach
    return msgspec.structs.replace(_recorded(reported), reach=reach)


def _is_former(reported: Reported, known: Mapping[str, AdmitterRecord]) -> bool:
    """Say whether an unknown incarnation was heard for the last time before one at its URL."""
    url = reported.report.url
    return any(
        record.alive and record.url == url and record.received_us > reported.received_us
        for record in known.values()
        if url
    )


def _replace_at_url(
    known: dict[str, AdmitterRecord], newcomer: Reported, *, now_us: int, leases: Leases
) -> None:
    """Bury the incarnation whose URL the newcomer reports.

    One that was only silent served from its static safe share until now, if it lived.
    """
    for name, record in known.items():
        if not record.url or record.url != newcomer.report.url:
            continue
        if record.alive or is_silent(record):
            served = record.safe or NOTHING
            known[name] = msgspec.structs.replace(
                _dead(record, now_us=now_us, leases=leases, served=served),
                replaced_by=newcomer.report.incarnation,
                safe=None,
            )


def _buried(record: AdmitterRecord, *, now_us: int, leases: Leases) -> AdmitterRecord:
    if record.alive and now_us - record.received_us > patience_us(leases):
        return _dead(record, now_us=now_us, leases=leases)
    return record


def _dead(
    record: AdmitterRecord, *, now_us: int, leases: Leases, served: Resources = NOTHING
) -> AdmitterRecord:
    """Return a record of one that is found dead now: it admitted its last before now."""
    renewed_s = RENEWALS_PER_TTL * leases.renew_seconds
    evicted_s = leases.renew_seconds + leases.evict_grace_seconds
    ttl_ms = max(record.ttl_ms_max, max(renewed_s, evicted_s) * MS_PER_S)
    reach = record.reach + served
    until_us = now_us + ttl_ms * US_PER_MS if reach != NOTHING else 0
    return msgspec.structs.replace(record, alive=False, reach=reach, reach_until_us=until_us)


def _matters(record: AdmitterRecord, *, now_us: int, patience_us: int) -> bool:
    """Alive, or its holdings count, or it may not know yet that it is dead."""
    kept_us = max(patience_us, SILENT_KEPT_US) if is_silent(record) else patience_us
    return _counts(record, now_us=now_us) or now_us - record.received_us <= kept_us


def _counts(record: AdmitterRecord, *, now_us: int) -> bool:
    return record.alive or max(record.counts_until_us, record.reach_until_us) > now_us


def _bounded(
    records: Sequence[AdmitterRecord], *, now_us: int, leases: Leases
) -> list[AdmitterRecord]:
    """Keep at most ``admitters_max`` of the dead that hold nothing any more: the latest heard."""
    idle = [item for item in records if not _counts(item, now_us=now_us)]
    idle.sort(key=lambda item: (item.received_us, item.incarnation), reverse=True)
    gone = {item.incarnation for item in idle[leases.admitters_max :]}
    return [item for item in records if item.incarnation not in gone]


def _name(record: AdmitterRecord) -> str:
    return record.incarnation


def urls_of(live: Mapping[str, AdmitterRecord]) -> dict[str, str]:
    """Return the URL of each live incarnation."""
    return {name: record.url for name, record in live.items()}
