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
from schemas.wire import decode
from streams import metrics
from streams.agents.guard import Guard
from streams.core.reports import Reported, heard
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

    def forget(self) -> None:
        """Forget everything: partitions have been assigned anew."""
        self._pools = {}

    def of(self, pool: str, *, silent_us_max: int) -> tuple[Reported, ...]:
        """Return the pool's incarnations heard of within ``silent_us_max``; forget the others."""
        oldest_us = self._now_us() - silent_us_max
        known = self._pools.get(pool, {})
        for incarnation in [key for key, each in known.items() if each.received_us < oldest_us]:
            del known[incarnation]
        return tuple(known.values())

    def take(self, batch: Batch) -> None:
        """Merge one batch of reports."""
        for record in batch.records:
            try:
                report = decode(record.value or b"", AdmitterReport)
            except MalformedEventError as error:
                metrics.BAD_REPORTS.inc()
                log.warning("event=bad_report offset=%d error=%s", record.offset, error)
                continue
            if partition_of(report.pool, self._partitions) == batch.partition:
                self._merge(report)

    def _merge(self, report: AdmitterReport) -> None:
        known = self._pools.setdefault(report.pool, {})
        previous = known.pop(report.incarnation, None)
        known[report.incarnation] = heard(previous, report, received_us=self._now_us())
        if len(known) > INCARNATIONS_MAX:
            del known[next(iter(known))]


def register(app: AppT, topic: TopicT, *, admitters: Admitters, guard: Guard) -> None:
    """Define the agent."""

    @app.agent(topic, name="reports")
    async def reports(stream: StreamT[Batch]) -> None:
        async for batch in stream:
            with guard:
                admitters.take(batch)
