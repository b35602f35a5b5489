"""The watch: looks for drift every few seconds, for as long as history runs, and says what it saw.

A round that ClickHouse does not answer is left out; the time of the last one is exported, so that
silence is seen too.  Usage that was settled and never emitted is looked for less often: it needs
the log's ends, and rounds in which everything that Kafka held one round earlier has been counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.errors import RecoverableError
from schemas.topics import USAGE
from schemas.units import US_PER_S
from streams.history import metrics
from streams.history.client import connect, reaching
from streams.history.drift import NAMED_MAX, Drift, DriftCheck
from streams.history.published import Published
from streams.history.queries import judged
from streams.history.settings import Settings
from streams.history.settled import Missing, missing_of, settled_before, source_usage
from streams.topic_logs import log_bounds

log = logging.getLogger(__name__)

SETTLED_EVERY: Final = 10
"""Settled and emitted tokens are compared in one of so many rounds."""
SETTLED_WITHIN_US: Final = 86_400 * US_PER_S
"""Of sources that settled within the last day; ``tokenpools verify`` compares all."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The log's ends at a time: once they are counted, so is everything emitted until then."""

    at_us: int
    epoch: int
    ends: dict[int, int]


class DriftWatch:
    """One process's continuous check; every history process checks everything."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._check = DriftCheck()
        self._published = Published(settings)
        self._round = 0
        self._said = ""
        self._ends: Ends | None = None
        self._suspected: frozenset[tuple[str, str, str]] = frozenset()

    async def run(self, *, epoch: int) -> None:
        """Look every ``drift_check_s`` until cancelled."""
        while self._settings.drift_check_s:
            await asyncio.sleep(self._settings.drift_check_s)
            try:
                await self.look(epoch=epoch)
            except (RecoverableError, ClickHouseError, KafkaError) as error:
                log.info("event=drift_not_checked error=%s", error)

    async def look(self, *, epoch: int) -> Drift:
        """Look once and export what was seen."""
        published_us = await self._published.until_us(epoch=epoch)
        drift = await asyncio.to_thread(self._drift, published_us)
        metrics.DRIFT_TOKENS.set(drift.tokens_count)
        metrics.DRIFT_EVENTS.set(drift.events_count)
        metrics.DRIFT_CHECKED.set(time.time())
        for partition, mark in self._check.marks.items():
            metrics.DRIFT_CHECKED_OFFSET.labels(str(partition)).set(mark.offset)
        self._say(drift)
        await self._look_at_settled(epoch)
        self._round += 1
        return drift

    def _drift(self, published_us: Mapping[int, int]) -> Drift:
        options = self._settings.clickhouse
        with closing(connect(options)) as client, reaching(options):
            return self._check.round(client, now_us=_now_us(), published_us=published_us)

    def _say(self, drift: Drift) -> None:
        """One line when drift appears or changes, and one when it is gone."""
        text = drift.text()
        if text and text != self._said:
            log.error(
                "event=drift tokens=%d events=%d where: %s",
                drift.tokens_count,
                drift.events_count,
                text,
            )
        elif self._said and not text:
            log.warning("event=drift_gone")
        self._said = text

    async def _look_at_settled(self, epoch: int) -> None:
        if self._ends is not None and await asyncio.to_thread(self._counted, self._ends):
            missing = await asyncio.to_thread(self._missing, self._ends)
            self._ends = None
            self._say_missing(missing)
        elif self._ends is None and self._round % SETTLED_EVERY == 0:
            self._ends = await self._log_ends(epoch)

    async def _log_ends(self, epoch: int) -> Ends:
        kafka, at_us = self._settings.kafka, _now_us()
        bounds = await log_bounds(kafka, kafka.topic(USAGE), range(kafka.partitions))
        return Ends(
            at_us=at_us, epoch=epoch, ends={p: end for p, (_, end) in bounds.items() if end}
        )

    def _counted(self, ends: Ends) -> bool:
        known = judged(self._settings.clickhouse)
        through = {
            partition: row.counted_through
            for (epoch, partition), row in known.items()
            if epoch == ends.epoch
        }
        return all(through.get(partition, -1) + 1 >= end for partition, end in ends.ends.items())

    def _missing(self, ends: Ends) -> tuple[Missing, ...]:
        usage = source_usage(
            self._settings.clickhouse,
            before_us=settled_before(ends.at_us),
            since_us=ends.at_us - SETTLED_WITHIN_US,
        )
        return missing_of(usage)

    def _say_missing(self, missing: tuple[Missing, ...]) -> None:
        metrics.SETTLED_NOT_EMITTED.set(sum(each.tokens for each in missing))
        names = frozenset((each.source, each.pool, each.entitlement) for each in missing)
        if names - self._suspected:
            where = "; ".join(
                f"source={each.source!r} pool={each.pool!r} entitlement={each.entitlement!r} "
                f"tokens={each.tokens}"
                for each in missing[:NAMED_MAX]
            )
            log.error("event=settled_not_emitted sources=%d where: %s", len(missing), where)
        self._suspected = names


def _now_us() -> int:
    return time.time_ns() // 1_000
