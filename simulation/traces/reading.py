"""Reading: from a file, plain or gzip, to arrivals, whichever known format it has.

The format is told by the first line.  A row that cannot be true is reported with its line number
and skipped; a file that is no trace at all is a ``TraceError`` that lists what is understood.
Nothing is kept in memory but one line and the rows that are held back to put them in order.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from simulation.arrivals import Arrival
from simulation.traces.azure import AZURE
from simulation.traces.burstgpt import BURSTGPT
from simulation.traces.mooncake import MOONCAKE
from simulation.traces.order import InOrder
from simulation.traces.own import OWN
from simulation.traces.rows import LINE_CHARS_MAX, BadRow, Format, Reader, TraceError, Unusable

FORMATS: Final = (OWN, AZURE, BURSTGPT, MOONCAKE)
_GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class TraceFacts:
    """What one pass over a trace shows."""

    format: str
    """The name of its format."""
    rows: int
    bad_rows: int
    failed_rows: int
    """Requests that failed when they were recorded; left out, and not among the bad rows."""
    span_us: int
    """Offset of the last row."""
    tenants: tuple[str, ...]
    """In the order in which they first appear; without the empty one."""


OnBadRow = Callable[[BadRow], None]


def read_trace(path: Path, *, on_bad_row: OnBadRow) -> Iterator[Arrival]:
    """Yield the requests of the file in order; each row that is skipped goes to ``on_bad_row``."""
    try:
        with _open(path) as file:
            for row in parse(bounded_lines(file)):
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


def survey(
    path: Path, *, limit_us: int | None = None, on_bad_row: OnBadRow | None = None
) -> TraceFacts:
    """Return the size, span and tenants of a trace; only of what comes before the limit."""
    bad: list[int] = [0, 0]
    rows = span_us = 0
    tenants: dict[str, None] = {}

    def count(row: BadRow) -> None:
        bad[row.failed] += 1
        if on_bad_row is not None:
            on_bad_row(row)

    for arrival in read_trace(path, on_bad_row=count):
        if limit_us is not None and arrival.offset_us >= limit_us:
            break
        rows += 1
        span_us = arrival.offset_us
        if arrival.tenant:
            tenants.setdefault(arrival.tenant)
    return TraceFacts(
        format=format_of(path).name,
        rows=rows,
        bad_rows=bad[False],
        failed_rows=bad[True],
        span_us=span_us,
        tenants=tuple(tenants),
    )


def parse(lines: Iterable[str]) -> Iterator[Arrival | BadRow]:
    """Yield one entry per row; blank lines are nothing.

    Raises ``TraceError`` when the first line begins none of the known formats.
    """
    numbered = enumerate(lines, start=1)
    _, first = next(numbered, (1, ""))
    _, reader = recognise(first)
    order = InOrder(reader)
    if reader.first_line_is_row:
        yield from _entries(reader, order, 1, first.removeprefix("\ufeff"))
    for number, line in numbered:
        yield from _entries(reader, order, number, line)
    yield from order.rest()


def recognise(first_line: str) -> tuple[Format, Reader]:
    """Return the format that begins with this line, and how to read it."""
    line = first_line.removeprefix("\ufeff")
    for each in FORMATS:
        reader = each.recognise(line)
        if reader is not None:
            return each, reader
    known = "; ".join(f"{each.name}: {each.first_line}" for each in FORMATS)
    raise TraceError(
        f"the first line is {line.strip()[:80]!r}, which begins no known trace format ({known})"
    )


def format_of(path: Path) -> Format:
    """Return the format of a file that can be read."""
    with _open(path) as file:
        return recognise(next(bounded_lines(file), ""))[0]


def bounded_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines; of one longer than ``LINE_CHARS_MAX`` only one character more than that."""
    while line := file.readline(LINE_CHARS_MAX + 1):
        yield line
        while len(line) > LINE_CHARS_MAX and not line.endswith(("\n", "\r")):
            line = file.readline(LINE_CHARS_MAX + 1)


def _entries(reader: Reader, order: InOrder, number: int, line: str) -> Iterator[Arrival | BadRow]:
    if not line.strip():
        return
    row = reader.read(line)
    if isinstance(row, Unusable):
        yield BadRow(number, row.reason, row.failed)
    else:
        yield from order.add(number, row)


def _open(path: Path) -> TextIO:
    with path.open("rb") as raw:
        zipped = raw.read(2) == _GZIP_MAGIC
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="")
    return path.open("rt", encoding="utf-8", errors="replace", newline="")
