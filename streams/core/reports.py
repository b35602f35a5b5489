"""Reports: what does each incarnation hold now, put together from reports that may be partial?

Amounts are absolute and counters cumulative, so merging is "the later sequence wins" per
entitlement: a lost, repeated or reordered report changes nothing that a later one does not say.

When a report arrived is not when it was read: an owner that stalled reads a backlog.  How old a
record of the backlog is, it learns from the broker's timestamps alone, of which only differences
are used: a record stored 20 s before the one that was read last arrived 20 s before that one was
read.  So no clock of a broker is compared with the owner's or an admitter's, and a constant skew
changes nothing.  A broker's clock that jumps forward makes everybody else look old at once; so
nobody is believed to have been silent for longer than ``hold_s`` by timestamps alone, and has one
lease left to be heard before it is declared dead.  Too fresh is the safe side: what it holds counts
for longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from schemas.reports import AdmitterReport, EntitlementReport


@dataclass(frozen=True)
class Reported:
    """The merged report of one incarnation: every entitlement it ever named."""

    report: AdmitterReport
    received_us: int
    """The tick owner's clock when the newest part arrived."""


@dataclass(frozen=True)
class Reading:
    """When a report was read, and when the broker stored it."""

    read_us: int
    """The tick owner's clock."""
    stored_us: int
    """The broker's clock."""


def arrived_us(reading: Reading, last: Reading, *, hold_us: int) -> int:
    """Return when a report arrived, in the owner's clock; ``last`` was read last of all.

    Never later than it was read; earlier than that by ``hold_us`` at most.
    """
    before_us = max(0, last.stored_us - reading.stored_us)
    return min(reading.read_us, max(last.read_us - before_us, reading.read_us - hold_us))


def merge(previous: AdmitterReport | None, report: AdmitterReport) -> AdmitterReport:
    """Return everything that the incarnation has said, ``report`` included.

    A full report replaces, a partial one carries only the entitlements that changed.  A sequence
    that is not above the previous one changes nothing, so merging twice equals merging once.
    """
    if previous is None:
        return report
    assert (previous.pool, previous.incarnation) == (report.pool, report.incarnation)
    if report.sequence <= previous.sequence:
        return previous
    if report.full:
        return report
    adoptions = {(item.incarnation, item.entitlement): item for item in previous.adoptions}
    adoptions |= {(item.incarnation, item.entitlement): item for item in report.adoptions}
    entitlements = by_entitlement(previous) | by_entitlement(report)
    return msgspec.structs.replace(
        report,
        full=previous.full,
        entitlements=tuple(entitlements[uid] for uid in sorted(entitlements)),
        adoptions=tuple(adoptions[key] for key in sorted(adoptions)),
    )


def heard(previous: Reported | None, report: AdmitterReport, *, received_us: int) -> Reported:
    """Return what is known of the incarnation once ``report`` has arrived.

    One that says nothing new (repeated, or overtaken by a later one) is no sign of life either.
    """
    if previous is None:
        return Reported(report, received_us)
    merged = merge(previous.report, report)
    return previous if merged is previous.report else Reported(merged, received_us)


def by_entitlement(report: AdmitterReport) -> dict[str, EntitlementReport]:
    """Return the report's entitlements by uid."""
    return {item.entitlement: item for item in report.entitlements}
