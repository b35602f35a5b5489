"""Our own format: CSV with the header ``offset_ms,tenant,model,input_tokens,output_tokens``.

Rows are sorted by ``offset_ms``, whole milliseconds from the beginning of whatever was recorded;
a row that goes back is wrong.  ``tenant`` is empty where the source names none.
"""

from __future__ import annotations

from typing import Final

from schemas.units import US_PER_MS
from simulation.traces.rows import (
    TOKENS_MAX,
    Format,
    Reader,
    Row,
    Unusable,
    fields_of,
    not_whole,
    whole,
    wrong_fields,
)

COLUMNS: Final = ("offset_ms", "tenant", "model", "input_tokens", "output_tokens")
OFFSET_MS_MAX: Final = 10 * 366 * 86_400_000


def read_row(line: str) -> Row | Unusable:
    """Return the request in one line."""
    fields = fields_of(line)
    if len(fields) != len(COLUMNS):
        return wrong_fields(line, fields, wanted=len(COLUMNS))
    offset_ms = whole(fields[0], maximum=OFFSET_MS_MAX)
    if offset_ms is None:
        return not_whole(COLUMNS[0], fields[0], maximum=OFFSET_MS_MAX)
    input_tokens = whole(fields[3], maximum=TOKENS_MAX)
    if input_tokens is None:
        return not_whole(COLUMNS[3], fields[3], maximum=TOKENS_MAX)
    output_tokens = whole(fields[4], maximum=TOKENS_MAX)
    if output_tokens is None:
        return not_whole(COLUMNS[4], fields[4], maximum=TOKENS_MAX)
    return Row(
        instant_us=offset_ms * US_PER_MS,
        tenant=fields[1].strip(),
        model=fields[2].strip(),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


def recognise(first_line: str) -> Reader | None:
    """Return the reader when the line is our header."""
    names = tuple(name.strip() for name in fields_of(first_line))
    return Reader(read=read_row, from_first=False) if names == COLUMNS else None


OWN: Final = Format(name="tokenpools", first_line=",".join(COLUMNS), recognise=recognise)
