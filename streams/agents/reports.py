"""The agent ``reports``: keeps the latest merged report of every admitter incarnation.

Soft state: nothing is stored, and after an assignment the newest reports are awaited, which the
new epoch of the state makes complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from faust.types import AppT, StreamT, TopicT

from schemas.errors import MalformedEventError
from schemas.partitioning import partition_of
from schemas.reports import AdmitterReport
from schemas.specs import Leases
from schemas.units import US_PER_S
from schemas.wire import decode
from streams import metrics
from streams.agents.guard import Guard
from streams.core.incarnations import silent_us_max
from streams.core.reports import Reading, Reported, arrived_us, heard
from streams.driver import Batch

log = logging.getLogger(__name__)

INCARNATIONS_MAX: Final = 4_096
"""Incarnations remembered per pool; the one silent for longest goes first."""


class Admitters:
    """What the admitters of the owned pools reported."""

    def __init__(self, partitions: int, *, now_us: Callable[[], int]) -> None:
        self._partitions = partitions
        self._now_us = now_us
        self._pools: dict[str, dict[str, Reported]] = {}
        self._readings: dict[tuple[str, str], Reading] = {}
        """When the newest report of each pool's incarnation was read."""
        self._last: dict[int, Reading] = {}
        """When the last record of each partition was read."""

    def forget(self) -> None:
        """Forget everything: partitions have been assigned anew."""
        self._pools, self._readings, self._last = {}, {}, {}

    def of(self, pool: str, *, leases: Leases) -> tuple[Reported, ...]:
        """Return the pool's incarnations that were heard of lately; forget the others."""
        oldest_us = self._now_us() - silent_us_max(leases)
        known = self._pools.get(pool, {})
        heard_of = [self._dated(pool, each, leases) for each in known.values()]
        for each in heard_of:
            if each.received_us < oldest_us:
                self._drop(pool, each.report.incarnation)
        return tuple(each for each in heard_of if each.received_us >= oldest_us)

    def take(self, batch: Batch) -> None:
        """Merge one batch of reports."""
        for record in batch.records:
            reading = Reading(read_us=self._now_us(), stored_us=record.stored_us)
            self._last[batch.partition] = reading
            try:
                report = decode(record.value or b"", AdmitterReport)
            except MalformedEventError as error:
                metrics.BAD_REPORTS.inc()
                log.warning("event=bad_report offset=%d error=%s", record.offset, error)
                continue
            if partition_of(report.pool, self._partitions) == batch.partition:
                self._merge(report, reading)

    def _dated(self, pool: str, each: Reported, leases: Leases) -> Reported:
        """Return it with the time when it arrived, which a backlog shows only now."""
        reading = self._readings[pool, each.report.incarnation]
        last = self._last[partition_of(pool, self._partitions)]
        hold_us = leases.hold_seconds * US_PER_S
        return Reported(each.report, arrived_us(reading, last, hold_us=hold_us))

    def _merge(self, report: AdmitterReport, reading: Reading) -> None:
        known = self._pools.setdefault(report.pool, {})
        previous = known.pop(report.incarnation, None)
        merged = heard(previous, report, received_us=reading.read_us)
        known[report.incarnation] = merged
        if merged is not previous:
            self._readings[report.pool, report.incarnation] = reading
        if len(known) > INCARNATIONS_MAX:
            self._drop(report.pool, next(iter(known)))

    def _drop(self, pool: str, incarnation: str) -> None:
        del self._pools[pool][incarnation]
        del self._readings[pool, incarnation]


def register(app: AppT, topic: TopicT, *, admitters: Admitters, guard: Guard) -> None:
    """Define the agent."""

    @app.agent(topic, name="reports")
    async def reports(stream: StreamT[Batch]) -> None:
        async for batch in stream:
            with guard:
                admitters.take(batch)
