"""Incarnations: which admitters are alive, and how long do the holdings of the dead count?

An incarnation is dead once it said ``leaving``, another one reported under its URL, or nothing was
received from it for lease + hold.  Death is final: a dead one that wakes starts again as a new
incarnation.  What it held last counts until the latest expiry that it reported.  All times are
the tick owner's clock; a new owner starts them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from schemas.ledger import AdmitterRecord
from schemas.reports import AdmitterReport
from schemas.specs import Leases
from schemas.units import NOTHING_HELD, US_PER_MS, US_PER_S, Held
from streams.core.reports import Reported

SILENT_KEPT_US: Final = 3_600 * US_PER_S
"""How long a silent incarnation is remembered: it may still serve from its static safe share."""


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
    lease + hold by both clocks is believed to be over: such a holding no longer counts, and such
    an admitter has one lease to be heard (a whole restart would else wait for the dead).
    """
    patience = patience_us(leases)

    def moved(record: AdmitterRecord) -> AdmitterRecord:
        received_us, until_us = now_us, record.counts_until_us
        if not record.alive:
            received_us = record.received_us - at_us + now_us
        elif now_us - record.received_us > patience:
            received_us = now_us - leases.hold_seconds * US_PER_S
        if now_us - until_us <= patience:
            until_us = max(0, until_us - at_us) + now_us
        return msgspec.structs.replace(record, received_us=received_us, counts_until_us=until_us)

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
        elif now_us - reported.received_us <= patience:
            _replace_at_url(known, reported)
            known[name] = _recorded(reported)
    dead = (_buried(record, now_us=now_us, patience_us=patience) for record in known.values())
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
    adopted: dict[tuple[str, str], Held] = {}
    for reported in reports:
        for item in reported.report.adoptions:
            key = (item.incarnation, item.entitlement)
            adopted[key] = adopted.get(key, NOTHING_HELD) + item.adopted
    left: dict[str, Held] = {}
    for record in records:
        if record.alive or record.counts_until_us <= now_us:
            continue
        for uid, held in record.held.items():
            rest = held - adopted.get((record.incarnation, uid), NOTHING_HELD)
            rest = Held(max(0, rest.tokens), max(0, rest.kv_bytes), max(0, rest.slots))
            left[uid] = left.get(uid, NOTHING_HELD) + rest
    return left


def _recorded(reported: Reported) -> AdmitterRecord:
    report = reported.report
    return AdmitterRecord(
        incarnation=report.incarnation,
        url=report.url,
        alive=not report.leaving,
        sequence=report.sequence,
        applied=report.applied,
        received_us=reported.received_us,
        counts_until_us=reported.received_us + report.expires_in_ms * US_PER_MS,
        held=_held(report),
        left=report.leaving,
    )


def _held(report: AdmitterReport) -> dict[str, Held]:
    return {
        item.entitlement: item.held for item in report.entitlements if item.held != NOTHING_HELD
    }


def _updated(record: AdmitterRecord, reported: Reported) -> AdmitterRecord:
    """Death is final; an older sequence says nothing new."""
    if not record.alive or reported.report.sequence < record.sequence:
        return record
    return _recorded(reported)


def _replace_at_url(known: dict[str, AdmitterRecord], newcomer: Reported) -> None:
    """Bury the live incarnation whose URL the newcomer reports."""
    for name, record in known.items():
        if record.alive and record.url and record.url == newcomer.report.url:
            known[name] = msgspec.structs.replace(
                record, alive=False, replaced_by=newcomer.report.incarnation
            )


def _buried(record: AdmitterRecord, *, now_us: int, patience_us: int) -> AdmitterRecord:
    if record.alive and now_us - record.received_us > patience_us:
        return msgspec.structs.replace(record, alive=False)
    return record


def _matters(record: AdmitterRecord, *, now_us: int, patience_us: int) -> bool:
    """Alive, or its holdings count, or it may not know yet that it is dead."""
    kept_us = max(patience_us, SILENT_KEPT_US) if is_silent(record) else patience_us
    return record.alive or record.counts_until_us > now_us or now_us - record.received_us <= kept_us


def _bounded(
    records: Sequence[AdmitterRecord], *, now_us: int, leases: Leases
) -> list[AdmitterRecord]:
    """Keep at most ``admitters_max`` of the dead that hold nothing any more: the latest heard."""
    idle = [item for item in records if not item.alive and item.counts_until_us <= now_us]
    idle.sort(key=lambda item: (item.received_us, item.incarnation), reverse=True)
    gone = {item.incarnation for item in idle[leases.admitters_max :]}
    return [item for item in records if item.incarnation not in gone]


def _name(record: AdmitterRecord) -> str:
    return record.incarnation


def urls_of(live: Mapping[str, AdmitterRecord]) -> dict[str, str]:
    """Return the URL of each live incarnation."""
    return {name: record.url for name, record in live.items()}
