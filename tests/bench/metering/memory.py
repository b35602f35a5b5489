"""Memory: how much larger one process becomes by what the ledger must remember.

    python -m tests.bench.metering.memory marks|lines <count>

prints the bytes by which the resident memory grew, per unnumbered id or numbered (source, pool).
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

import psutil

from schemas.usage import UsageEvent, encode_structured
from streams.core.judge import StoredRecord
from streams.core.ledger import Limits, fold
from streams.core.outcome import Place, States, apply
from tests.bench.metering.traffic import Traffic, pool_names, specs_of, usage_data

BATCH_RECORDS: Final = 2_000
WARM_UP: Final = 20_000
TRAFFIC: Final = Traffic(events=0, pools=1, entitlements=16, partitions=1)


def unnumbered(pool: str) -> Iterator[UsageEvent]:
    """Yield events whose ids say nothing about their order."""
    number = 0
    while True:
        yield _event(number, pool, source="gateway", event_id=f"{number:032x}", sequence=None)
        number += 1


def numbered(pool: str) -> Iterator[UsageEvent]:
    """Yield the first event of one source after the other."""
    number = 0
    while True:
        source = f"gateway-{number:08d}/0123456789ab"
        yield _event(number, pool, source=source, event_id=f"{pool}/1", sequence=1)
        number += 1


def _event(
    number: int, pool: str, *, source: str, event_id: str, sequence: int | None
) -> UsageEvent:
    data = usage_data(
        number, pool=pool, entitlement=number % TRAFFIC.entitlements, end_us=time.time_ns() // 1_000
    )
    return UsageEvent(source=source, id=event_id, sequence=sequence, data=data)


class Ledger:
    """One partition's states while events are folded into them."""

    def __init__(self, limits: Limits) -> None:
        self.states = States()
        self._specs = specs_of(TRAFFIC)
        self._limits = limits
        self._offset = 0

    def take(self, events: Iterator[UsageEvent], count: int) -> None:
        """Fold ``count`` events."""
        while count:
            batch = [self._record(event) for event in islice(events, min(count, BATCH_RECORDS))]
            place = Place(0, TRAFFIC.partitions)
            outcome = fold(self.states, batch, specs=self._specs, place=place, limits=self._limits)
            apply(self.states, outcome)
            count -= len(batch)

    def _record(self, event: UsageEvent) -> StoredRecord:
        value, headers = encode_structured(event)
        self._offset += 1
        return StoredRecord(self._offset, time.time_ns() // 1_000_000, b"", value, headers)


def grown_bytes(kind: str, count: int) -> float:
    """Return the growth per event, after a warm-up."""
    (pool,) = pool_names(TRAFFIC)
    events = unnumbered(pool) if kind == "marks" else numbered(pool)
    ledger = Ledger(Limits(marks_max=2 * (count + WARM_UP)))
    ledger.take(events, WARM_UP)
    before = _resident_bytes()
    ledger.take(events, count)
    grown = _resident_bytes() - before
    accepted = ledger.states.partition
    assert accepted is not None
    assert accepted.counts.accepted == count + WARM_UP
    return grown / count


def _resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    print(grown_bytes(sys.argv[1], int(sys.argv[2])))
