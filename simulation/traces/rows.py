"""Rows: what one line of a trace says, and the words for a line that says nothing usable.

Instants are microseconds from wherever the format counts; ``order`` turns them into offsets.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from schemas.errors import TokenpoolsError

LINE_CHARS_MAX: Final = 1_048_576
"""Of any line: the rest of a longer one is not even kept in memory."""
CSV_LINE_CHARS_MAX: Final = 4_096
TOKENS_MAX: Final = 100_000_000
_DIGITS_MAX: Final = 18
_SHOWN_CHARS: Final = 40


class TraceError(TokenpoolsError):
    """A file is no request trace; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was skipped: its line in the file (the first is line 1) and why."""

    line: int
    reason: str
    failed: bool = False
    """The row is well-formed, but the request that it records failed when it was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request as its line names it."""

    instant_us: int
    tenant: str = ""
    model: str = ""
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a line is no request that can be replayed."""

    reason: str
    failed: bool = False


ReadRow = Callable[[str], Row | Unusable]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How the lines of one file are read, once its first line was recognised."""

    read: ReadRow
    first_line_is_row: bool = False
    """Whether there is no header."""
    from_first: bool = True
    """Whether offsets count from the first row's instant; else the instants are offsets."""
    reorder_rows: int = 0
    """How many rows are held back to put those in order that come too late; 0: file's order."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One trace format."""

    name: str
    first_line: str
    """What a file of this format begins with, for the user."""
    recognise: Callable[[str], Reader | None]
    """Return how to read the file whose first line is given; None for another format's."""


def fields_of(line: str) -> list[str]:
    """Return the fields of a line of CSV; none when it is too long or no CSV."""
    if len(line) > CSV_LINE_CHARS_MAX:
        return []
    try:
        return next(csv.reader([line.rstrip("\r\n")]), [])
    except csv.Error:
        return []


def whole(text: str, *, maximum: int) -> int | None:
    """Return a whole number from 0 to the maximum in ASCII digits, or None."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        return None
    return int(digits) if int(digits) <= maximum else None


def not_whole(column: str, text: str, *, maximum: int) -> Unusable:
    """Return the words for a field that ``whole`` did not take."""
    return Unusable(f"{column} {shown(text)} is no whole number from 0 to {maximum}")


def wrong_fields(line: str, fields: list[str], *, wanted: int) -> Unusable:
    """Return the words for a line with another number of fields."""
    if len(line) > CSV_LINE_CHARS_MAX:
        return Unusable(f"is longer than {CSV_LINE_CHARS_MAX} characters")
    return Unusable(f"has {len(fields)} fields instead of {wanted}")


def shown(text: str) -> str:
    """Return the beginning of a text, quoted."""
    return repr(text[:_SHOWN_CHARS])
