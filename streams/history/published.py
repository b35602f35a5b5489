"""Published: until when everything that the ledger published has been read, by partition.

Rows and totals are read from two topics, and one may be far behind the other: totals that were not
read yet must not look like totals that are missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from schemas.topics import ROLLUPS
from streams.history.queries import read_through
from streams.history.settings import Settings
from streams.topic_logs import log_bounds


class End(NamedTuple):
    """Where a partition of ``rollups`` ended at a time."""

    at_us: int
    """Microseconds since 1970, by the clock of this process."""
    offset: int


class Published:
    """Asks Kafka where ``rollups`` ends and, from then on, ClickHouse whether it was read so far.

    A partition's end is kept until it has been read, so that a log that grows without pause is
    seen to move as well.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ends: dict[int, End] = {}
        self._until_us: dict[int, int] = {}

    async def until_us(self, *, epoch: int) -> Mapping[int, int]:
        """Return by partition until when everything that was published is read; raises as they do.

        ``epoch`` is the log epoch of ``usage``.
        """
        kafka, at_us = self._settings.kafka, time.time_ns() // 1_000
        bounds = await log_bounds(kafka, kafka.topic(ROLLUPS), range(kafka.partitions))
        for partition, (_, offset) in bounds.items():
            self._ends.setdefault(partition, End(at_us, offset))
        through = await asyncio.to_thread(
            read_through, self._settings.clickhouse, topic=ROLLUPS, epoch=epoch
        )
        for partition, end in list(self._ends.items()):
            if through.get(partition, -1) + 1 >= end.offset:
                self._until_us[partition] = end.at_us
                del self._ends[partition]
        return self._until_us
