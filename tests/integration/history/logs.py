"""A log of usage as streams judges it, and what every view must say of it.

A small ledger of its own reads the events in order, so the expected sums owe nothing to the code
under test.  It has duplicates, frames, dead letters that are replayed (one of them twice), late
events whose windows are ordered, and stored times on both sides of a month's end.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from schemas.positions import Position
from schemas.rollups import Rollup
from schemas.topics import ROLLUPS, USAGE, VERDICTS
from schemas.units import TokenCounts
from schemas.usage import REPLAYED_HEADER, UsageEvent
from schemas.verdicts import JudgedThrough, Verdict, VerdictCounts, VerdictKind
from schemas.wire import encode
from streams.history.batch import Batch
from tests.integration.history.records import (
    EPOCH,
    PARTITION,
    Stored,
    event,
    usage_frame,
    usage_record,
)

MONTH_END_US: Final = 1_790_812_800_000_000
"""2026-10-01T00:00:00Z."""
LENGTHS_US: Final = (1_000_000, 60_000_000, 3_600_000_000)
LATENESS_US: Final = 5_000_000
LATE_US: Final = 7_300_000_000
STEP_US: Final = 400_000
"""Between two records."""

WindowKey = tuple[int, str, int]
"""Length, entitlement, start."""
Tokens = tuple[int, int, int]
"""Events, input, output."""


@dataclass
class Log:
    """Records by topic, in the order in which streams wrote them, and the sums that they mean."""

    records: dict[str, list[Stored]] = field(
        default_factory=lambda: {USAGE: [], VERDICTS: [], ROLLUPS: []}
    )
    windows: dict[WindowKey, Tokens] = field(default_factory=dict)
    totals: dict[str, Tokens] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    """Accepted replays."""


def made(seed: int, *, records: int = 300) -> Log:
    """Return a log that the seed determines."""
    ledger = _Ledger(random.Random(seed))
    for offset in range(records):
        ledger.read(offset, MONTH_END_US + (offset - records // 2) * STEP_US)
        if offset % 41 == 40 or offset == records - 1:
            ledger.publish(offset)
    return ledger.log


def cuts(log: Log, seed: int, *, start: dict[str, int] | None = None) -> Iterator[Batch]:
    """Yield the log from the start offsets on as batches whose boundaries the seed chooses."""
    chance = random.Random(seed)
    at = {topic: (start or {}).get(topic, 0) for topic in log.records}
    while any(at[topic] < len(records) for topic, records in log.records.items()):
        batch = Batch(epoch=EPOCH)
        for topic, records in log.records.items():
            size = chance.randrange(120)
            batch.add(topic, PARTITION, records[at[topic] : at[topic] + size])
            at[topic] += size
        yield batch


class _Ledger:
    def __init__(self, chance: random.Random) -> None:
        self.log = Log()
        self._chance = chance
        self._open: dict[WindowKey, Tokens] = {}
        self._last: dict[WindowKey, Position] = {}
        self._dead: list[Position] = []
        self._once: set[Position] = set()
        """Dead letters that were replayed and may be replayed again."""
        self._counts: Counter[str] = Counter()
        self._refused: list[Verdict] = []
        self._orders: dict[WindowKey, Rollup] = {}

    def read(self, offset: int, stored_us: int) -> None:
        """Write one record and judge it."""
        sent = [self._event(offset, index, stored_us) for index in range(self._frame_size())]
        kind = self._chance.random()
        position = Position(EPOCH, PARTITION, offset)
        if kind < 0.1:
            self._store(usage_frame(offset, sent), stored_us)
            for index, _ in enumerate(sent):
                self._refuse(Position(EPOCH, PARTITION, offset, index), "duplicate", stored_us)
        elif kind < 0.2:
            self._store(usage_record(offset, sent[0]), stored_us)
            self._refuse(position, "dead", stored_us)
            self._dead.append(position)
        elif kind < 0.3 and self._dead:
            self._replay(offset, sent[0], stored_us)
        else:
            self._store(usage_frame(offset, sent), stored_us)
            for index, each in enumerate(sent):
                self._accept(each, Position(EPOCH, PARTITION, offset, index), stored_us)

    def publish(self, offset: int) -> None:
        """Write what was judged: verdicts, the mark, windows and orders."""
        self._write(VERDICTS, *[encode(verdict) for verdict in self._refused])
        mark = JudgedThrough(
            epoch=EPOCH,
            partition=PARTITION,
            offset=offset,
            counts=VerdictCounts(**self._counts),
        )
        self._write(VERDICTS, encode(mark))
        self._write(ROLLUPS, *[encode(self._rollup(key)) for key in self._last])
        self._write(ROLLUPS, *[encode(order) for order in self._orders.values()])
        self._refused, self._last, self._orders = [], {}, {}

    def _replay(self, offset: int, again: UsageEvent, stored_us: int) -> None:
        """Replay a dead letter, the first of them sometimes once more: that is a duplicate."""
        position = Position(EPOCH, PARTITION, offset)
        replays = self._dead.pop()
        record = usage_record(offset, again)
        headers = (*record.headers, (REPLAYED_HEADER, str(replays).encode()))
        self._store(Stored(offset, record.value, headers=headers), stored_us)
        if replays.offset % 2 and replays in self._once:
            self._refuse(position, "duplicate", stored_us, replays=replays)
            return
        if replays.offset % 2:
            self._dead.append(replays)
            self._once.add(replays)
        self.log.replayed += 1
        self._accept(again, position, stored_us)

    def _frame_size(self) -> int:
        return self._chance.choice((1, 1, 1, 3))

    def _event(self, offset: int, index: int, stored_us: int) -> UsageEvent:
        late = LATE_US if self._chance.random() < 0.1 else self._chance.randrange(3_000_000)
        return event(
            offset * 10 + index,
            end_us=stored_us - late,
            entitlement=self._chance.choice(("gold", "silver")),
            input_tokens=self._chance.randrange(1_000),
            output_tokens=self._chance.randrange(1_000),
        )

    def _store(self, record: Stored, stored_us: int) -> None:
        stored = Stored(record.offset, record.value, stored_us // 1_000, record.headers)
        self.log.records[USAGE].append(stored)

    def _write(self, topic: str, *values: bytes) -> None:
        records = self.log.records[topic]
        records += [Stored(len(records) + index, value) for index, value in enumerate(values)]

    def _refuse(
        self, position: Position, kind: str, stored_us: int, *, replays: Position | None = None
    ) -> None:
        self._counts[kind] += 1
        self.log.verdicts[kind] += 1
        self._refused.append(
            Verdict(
                position=position, verdict=VerdictKind(kind), stored_us=stored_us, replays=replays
            )
        )

    def _accept(self, sent: UsageEvent, position: Position, stored_us: int) -> None:
        self._counts["accepted"] += 1
        data = sent.data
        one = (1, data.input_tokens, data.output_tokens)
        totals = self.log.totals
        totals[data.entitlement] = _sum(totals.get(data.entitlement), one)
        for length_us in LENGTHS_US:
            start_us = sent.event_us - sent.event_us % length_us
            key = (length_us, data.entitlement, start_us)
            self.log.windows[key] = _sum(self.log.windows.get(key), one)
            if stored_us < start_us + length_us + LATENESS_US:
                self._open[key] = _sum(self._open.get(key), one)
                self._last[key] = position
            else:
                self._orders[key] = _window(key, position, order=True)

    def _rollup(self, key: WindowKey) -> Rollup:
        return _window(key, self._last[key], tokens=self._open[key])


def _window(
    key: WindowKey, version: Position, *, tokens: Tokens = (0, 0, 0), order: bool = False
) -> Rollup:
    return Rollup(
        pool="chat",
        entitlement=key[1],
        window_start_us=key[2],
        window_us=key[0],
        tokens=TokenCounts(input_tokens=tokens[1], output_tokens=tokens[2]),
        events=tokens[0],
        version=version,
        order=order,
    )


def _sum(before: Tokens | None, one: Tokens) -> Tokens:
    events, sent, received = before or (0, 0, 0)
    return events + one[0], sent + one[1], received + one[2]
