"""Record: the replayer's own file, one JSON object per line, and what it adds up to.

It is written from what the broker acknowledged, so its sums can be held against the ledger's and
ClickHouse's.  Lines: ``run``, ``usage`` (acknowledged), ``undelivered``, ``request`` (one each).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import msgspec

from schemas.errors import TokenpoolsError
from schemas.units import NO_TOKENS, TokenCounts
from schemas.usage import UsageEvent


class RunLine(msgspec.Struct, frozen=True, kw_only=True, tag="run", tag_field="kind"):
    """The first line."""

    run_id: str
    source: str
    """Empty: nothing is emitted."""
    started_us: int
    speed_ppm: int
    admission: bool


class UsageLine(msgspec.Struct, frozen=True, kw_only=True, tag="usage", tag_field="kind"):
    """A usage event that the broker has acknowledged."""

    source: str
    id: str
    sequence: int
    pool: str
    entitlement: str
    counts: TokenCounts
    final: bool


class UndeliveredLine(
    msgspec.Struct, frozen=True, kw_only=True, tag="undelivered", tag_field="kind"
):
    """A usage event that was given up; it may or may not be in the topic."""

    source: str
    id: str
    pool: str
    entitlement: str
    counts: TokenCounts
    error: str


class RequestLine(msgspec.Struct, frozen=True, kw_only=True, tag="request", tag_field="kind"):
    """What became of one request.  Times are microseconds since 1970; None: it never happened."""

    number: int
    offset_us: int
    pool: str
    entitlement: str
    outcome: str
    """``ok``, ``aborted``, ``evicted``, ``not_sent``, ``unmapped`` or ``lost:<reason>``."""
    attempts: int
    input_tokens: int
    output_tokens: int
    """Produced in the end."""
    arrived_us: int
    requested_us: int | None = None
    """The attempt that was admitted."""
    first_token_us: int | None = None
    completed_us: int | None = None


Line = RunLine | UsageLine | UndeliveredLine | RequestLine
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class Recorder:
    """Appends lines; each is in the file when ``write`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("x", encoding="utf-8", buffering=1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, line: Line) -> None:
        """Append one line."""
        assert self._file is not None
        self._file.write(msgspec.json.encode(line).decode() + "\n")

    def usage(self, event: UsageEvent) -> None:
        """Append an acknowledged event."""
        self.write(
            UsageLine(
                source=event.source,
                id=event.id,
                sequence=event.sequence or 0,
                pool=event.data.pool,
                entitlement=event.data.entitlement,
                counts=event.data.counts,
                final=event.data.final,
            )
        )

    def undelivered(self, event: UsageEvent, error: Exception) -> None:
        """Append an event that was given up."""
        self.write(
            UndeliveredLine(
                source=event.source,
                id=event.id,
                pool=event.data.pool,
                entitlement=event.data.entitlement,
                counts=event.data.counts,
                error=str(error)[:500],
            )
        )


@dataclass
class EmittedTotals:
    """Sums over one or more records."""

    by_entitlement: dict[tuple[str, str], TokenCounts] = field(default_factory=dict)
    """(pool, entitlement) -> acknowledged tokens."""
    events: int = 0
    undelivered: int = 0
    undelivered_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All acknowledged tokens."""
        return sum(counts.total for counts in self.by_entitlement.values())

    def by_pool(self) -> dict[str, int]:
        """Acknowledged tokens by pool."""
        pools: dict[str, int] = {}
        for (pool, _), counts in self.by_entitlement.items():
            pools[pool] = pools.get(pool, 0) + counts.total
        return pools


def read_totals(paths: Iterable[Path]) -> EmittedTotals:
    """Return what the records say was emitted; an event that is in them twice counts once."""
    totals = EmittedTotals()
    seen: set[tuple[str, str]] = set()
    for path in paths:
        for line in read_lines(path):
            match line:
                case UsageLine() if (line.source, line.id) not in seen:
                    seen.add((line.source, line.id))
                    totals.events += 1
                    key = (line.pool, line.entitlement)
                    counted = totals.by_entitlement.get(key, NO_TOKENS)
                    totals.by_entitlement[key] = counted + line.counts
                case UndeliveredLine():
                    totals.undelivered += 1
                    totals.undelivered_tokens += line.counts.total
    return totals


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a record; a last line that was cut off by a crash is left out."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            try:
                yield _decoder.decode(raw)
            except msgspec.DecodeError as error:
                raise TokenpoolsError(f"{path}:{number}: no line of a record: {error}") from error
