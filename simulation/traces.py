"""Traces: recorded requests, read line by line from plain or gzip CSV.

The header is ``offset_ms,tenant,model,input_tokens,output_tokens``; rows are sorted by offset.
A row that cannot be true is reported with its line number and skipped; a file that is no trace
at all is a ``TraceError``.  Nothing is kept in memory but the row at hand.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from schemas.errors import TokenpoolsError
from schemas.units import US_PER_MS
from simulation.arrivals import Arrival

COLUMNS: Final = ("offset_ms", "tenant", "model", "input_tokens", "output_tokens")
LINE_CHARS_MAX: Final = 4_096
OFFSET_MS_MAX: Final = 10 * 366 * 86_400_000
TOKENS_MAX: Final = 100_000_000
_GZIP_MAGIC: Final = b"\x1f\x8b"


class TraceError(TokenpoolsError):
    """A file is no request trace; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was skipped: its line in the file (the header is line 1) and why."""

    line: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class TraceFacts:
    """What one pass over a trace shows."""

    rows: int
    bad_rows: int
    span_us: int
    """Offset of the last row."""
    tenants: tuple[str, ...]
    """In the order in which they first appear; without the empty one."""


OnBadRow = Callable[[BadRow], None]


def read_trace(path: Path, *, on_bad_row: OnBadRow) -> Iterator[Arrival]:
    """Yield the requests of the file in order; each bad row goes to ``on_bad_row``."""
    try:
        with _open(path) as lines:
            for row in parse(lines):
                if isinstance(row, BadRow):
                    on_bad_row(row)
                else:
                    yield row
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path}: the gzip data is damaged: {error}") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error


def survey(path: Path) -> TraceFacts:
    """Return the size, span and tenants of a trace, read once from beginning to end."""
    bad: list[int] = [0]
    rows = span_us = 0
    tenants: dict[str, None] = {}

    def count(_: BadRow) -> None:
        bad[0] += 1

    for arrival in read_trace(path, on_bad_row=count):
        rows += 1
        span_us = arrival.offset_us
        if arrival.tenant:
            tenants.setdefault(arrival.tenant)
    return TraceFacts(rows=rows, bad_rows=bad[0], span_us=span_us, tenants=tuple(tenants))


def parse(lines: Iterable[str]) -> Iterator[Arrival | BadRow]:
    """Yield one entry per row of the CSV text; blank lines are nothing.

    Raises ``TraceError`` when the first line is not the header.
    """
    numbered = enumerate(lines, start=1)
    _check_header(next(numbered, (1, ""))[1])
    latest_us = 0
    for number, line in numbered:
        if not line.strip():
            continue
        row = parse_row(line, number=number, not_before_us=latest_us)
        if isinstance(row, Arrival):
            latest_us = row.offset_us
        yield row


def parse_row(line: str, *, number: int, not_before_us: int = 0) -> Arrival | BadRow:
    """Return the request in one line of CSV, or why there is none."""
    fields = _fields(line)
    if len(fields) != len(COLUMNS):
        return BadRow(number, f"has {len(fields)} fields instead of {len(COLUMNS)}")
    offset_ms = _whole(fields[0], maximum=OFFSET_MS_MAX)
    input_tokens = _whole(fields[3], maximum=TOKENS_MAX)
    output_tokens = _whole(fields[4], maximum=TOKENS_MAX)
    if offset_ms is None or input_tokens is None or output_tokens is None:
        return BadRow(number, _not_whole(fields))
    if offset_ms * US_PER_MS < not_before_us:
        return BadRow(number, f"offset_ms {offset_ms} is before the row above it")
    return Arrival(
        offset_us=offset_ms * US_PER_MS,
        tenant=fields[1].strip(),
        model=fields[2].strip(),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


def _check_header(line: str) -> None:
    found = tuple(name.strip() for name in _fields(line.removeprefix("\ufeff")))
    if found != COLUMNS:
        shown = line.strip()[:80]
        raise TraceError(f"the first line must be {','.join(COLUMNS)}, not {shown!r}")


def _fields(line: str) -> list[str]:
    if len(line) > LINE_CHARS_MAX:
        return []
    try:
        return next(csv.reader([line.rstrip("\r\n")]), [])
    except csv.Error:
        return []


def _whole(text: str, *, maximum: int) -> int | None:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        return None
    return int(digits) if int(digits) <= maximum else None


def _not_whole(fields: list[str]) -> str:
    for column, text, maximum in (
        (COLUMNS[0], fields[0], OFFSET_MS_MAX),
        (COLUMNS[3], fields[3], TOKENS_MAX),
        (COLUMNS[4], fields[4], TOKENS_MAX),
    ):
        if _whole(text, maximum=maximum) is None:
            return f"{column} {text[:40]!r} is no whole number from 0 to {maximum}"
    raise AssertionError("called for a row whose numbers are whole")


def _open(path: Path) -> TextIO:
    with path.open("rb") as raw:
        zipped = raw.read(2) == _GZIP_MAGIC
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="")
    return path.open("rt", encoding="utf-8", errors="replace", newline="")
