"""Settled rows: what each admitter says its gateways settled, by the source that emits the usage.

Totals are cumulative per incarnation, so a row of a minute is replaced by what a later report of
the same minute says (``sequence`` is its version), and a lost or repeated report changes nothing.
The minute is the broker's: the same record gives the same row.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.reports import AdmitterReport
from schemas.units import US_PER_MINUTE, US_PER_MS


class SettledRow(NamedTuple):
    """Table ``settled``."""

    pool: str
    entitlement: str
    source: str
    incarnation: str
    minute: int
    tokens: int
    sequence: int


def settled_rows(report: AdmitterReport, *, stored_ms: int) -> list[SettledRow]:
    """Return a row for each entitlement and source that the report tells of."""
    stored_us = stored_ms * US_PER_MS
    return [
        SettledRow(
            pool=report.pool,
            entitlement=line.entitlement,
            source=source,
            incarnation=report.incarnation,
            minute=stored_us - stored_us % US_PER_MINUTE,
            tokens=tokens,
            sequence=report.sequence,
        )
        for line in report.entitlements
        for source, tokens in line.settled_by_source.items()
    ]
