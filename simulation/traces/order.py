"""Order: from the rows of a file, in whatever order, to arrivals whose offsets never go back.

Rows that come too late are put in order within a bounded number of rows held back; one that comes
later still is skipped and named.  Rows of the same instant keep the file's order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from schemas.units import US_PER_MS
from simulation.arrivals import Arrival
from simulation.traces.own import OFFSET_MS_MAX
from simulation.traces.rows import BadRow, Reader, Row

OFFSET_US_MAX: Final = OFFSET_MS_MAX * US_PER_MS


class InOrder:
    """Turns numbered rows into arrivals, in order."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._held: list[tuple[int, int, Row]] = []
        self._zero_us: int | None = None if reader.from_first else 0
        self._latest_us = 0

    def add(self, line: int, row: Row) -> Iterator[Arrival | BadRow]:
        """Take a row; yield what is due now."""
        late = self._zero_us is not None and row.instant_us - self._zero_us < self._latest_us
        if late:
            yield BadRow(line, self._late())
            return
        heapq.heappush(self._held, (row.instant_us, line, row))
        if len(self._held) > self._reader.reorder_rows:
            yield self._arrival()

    def rest(self) -> Iterator[Arrival | BadRow]:
        """Yield what is still held back."""
        while self._held:
            yield self._arrival()

    def _arrival(self) -> Arrival | BadRow:
        instant_us, line, row = heapq.heappop(self._held)
        if self._zero_us is None:
            self._zero_us = instant_us
        offset_us = instant_us - self._zero_us
        if offset_us > OFFSET_US_MAX:
            return BadRow(line, "is more than 10 years after the first row")
        self._latest_us = offset_us
        return Arrival(
            offset_us=offset_us,
            tenant=row.tenant,
            model=row.model,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
        )

    def _late(self) -> str:
        rows = self._reader.reorder_rows
        if not rows:
            return "is before the row above it"
        return f"is before rows that stand more than {rows} lines above it"
