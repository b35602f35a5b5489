"""The agent ``reports``: keeps the latest merged report of every admitter incarnation.

Soft state: nothing is stored, and after an assignment the newest reports are awaited, which the
new epoch of the state makes complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from faust.types import AppT, StreamT, TopicT

from schemas.errors import MalformedEventError
from schemas.partitioning import partition_of
from schemas.reports import AdmitterReport
from schemas.specs import Leases
from schemas.units import US_PER_MS
from schemas.wire import decode
from streams import metrics
from streams.agents.guard import Guard
from streams.core.hearing import Hearing
from streams.core.reports import Reading, Reported
from streams.driver import Batch

log = logging.getLogger(__name__)


class Admitters:
    """What the admitters of the owned pools reported."""

    def __init__(self, partitions: int, *, now_us: Callable[[], int]) -> None:
        self._partitions = partitions
        self._now_us = now_us
        self._pools: dict[str, Hearing] = {}
        self._last: dict[int, Reading] = {}
        """When the last record of each partition was read."""

    def forget(self) -> None:
        """Forget everything: partitions have been assigned anew."""
        self._pools, self._last = {}, {}

    def of(self, pool: str, *, leases: Leases) -> tuple[Reported, ...]:
        """Return the pool's incarnations that were heard of lately; forget the others."""
        hearing = self._pools.get(pool)
        if hearing is None:
            return ()
        last = self._last[partition_of(pool, self._partitions)]
        return hearing.of(last, now_us=self._now_us(), leases=leases)

    def take(self, batch: Batch) -> None:
        """Merge one batch of reports."""
        for record in batch.records:
            reading = Reading(read_us=self._now_us(), stored_us=record.timestamp * US_PER_MS)
            self._last[batch.partition] = reading
            try:
                report = decode(record.value or b"", AdmitterReport)
            except MalformedEventError as error:
                metrics.BAD_REPORTS.inc()
                log.warning("event=bad_report offset=%d error=%s", record.offset, error)
                continue
            if partition_of(report.pool, self._partitions) == batch.partition:
                self._pools.setdefault(report.pool, Hearing()).take(report, reading)


def register(app: AppT, topic: TopicT, *, admitters: Admitters, guard: Guard) -> None:
    """Define the agent."""

    @app.agent(topic, name="reports")
    async def reports(stream: StreamT[Batch]) -> None:
        async for batch in stream:
            with guard:
                admitters.take(batch)
