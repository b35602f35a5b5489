"""Reports: what does each incarnation hold now, put together from reports that may be partial?

Amounts are absolute and counters cumulative, so merging is "the later sequence wins" per
entitlement: a lost, repeated or reordered report changes nothing that a later one does not say.
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
