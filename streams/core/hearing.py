"""Hearing: the latest merged report of every incarnation of one pool, dated by when it arrived.

An owner that reads a backlog must not take old reports for fresh ones: each arrived as long before
the last record of the partition as the broker stored it before that one.  Soft state, bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from schemas.reports import AdmitterReport
from schemas.specs import Leases
from schemas.units import US_PER_S
from streams.core.incarnations import silent_us_max
from streams.core.reports import Reading, Reported, arrived_us, heard

INCARNATIONS_MAX: Final = 4_096
"""Incarnations remembered per pool; the one silent for longest goes first."""


@dataclass
class Hearing:
    """What the admitters of one pool reported."""

    _known: dict[str, tuple[Reported, Reading]] = field(default_factory=dict)
    """With the reading of the newest part."""

    def take(self, report: AdmitterReport, reading: Reading) -> None:
        """Merge one report."""
        before = self._known.pop(report.incarnation, None)
        previous = None if before is None else before[0]
        merged = heard(previous, report, received_us=reading.read_us)
        if before is not None and merged is previous:
            reading = before[1]
        self._known[report.incarnation] = (merged, reading)
        if len(self._known) > INCARNATIONS_MAX:
            del self._known[next(iter(self._known))]

    def of(self, last: Reading, *, now_us: int, leases: Leases) -> tuple[Reported, ...]:
        """Return the incarnations that were heard of lately; forget the others.

        ``last`` is the reading of the partition's last record, whatever it held.
        """
        oldest_us = now_us - silent_us_max(leases)
        hold_us = leases.hold_seconds * US_PER_S
        dated = [
            Reported(each.report, arrived_us(reading, last, hold_us=hold_us))
            for each, reading in self._known.values()
        ]
        for each in dated:
            if each.received_us < oldest_us:
                del self._known[each.report.incarnation]
        return tuple(each for each in dated if each.received_us >= oldest_us)
