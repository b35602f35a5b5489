"""Azure LLM inference traces of 2023 and 2024: CSV, ``TIMESTAMP,ContextTokens,GeneratedTokens``.

Read in the dataset's own description (Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md
and 2024.md: invocation time, number of context tokens, number of generated tokens) and in public
readers of the files.  ``TIMESTAMP`` is a date and time with a space between; in 2023 it has 7
fractional digits and no zone, in 2024 six or none and ``+00:00``.  Without a zone it is read as
UTC; only differences matter.  What is finer than a microsecond is cut off.  No tenant, no model.
"""

from __future__ import annotations

import datetime
from typing import Final

from simulation.traces.rows import (
    TOKENS_MAX,
    Format,
    Reader,
    Row,
    Unusable,
    fields_of,
    not_whole,
    shown,
    whole,
    wrong_fields,
)

COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
REORDER_ROWS: Final = 10_000
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_US: Final = datetime.timedelta(microseconds=1)


def read_row(line: str) -> Row | Unusable:
    """Return the request in one line."""
    fields = fields_of(line)
    if len(fields) != len(COLUMNS):
        return wrong_fields(line, fields, wanted=len(COLUMNS))
    instant_us = _instant_us(fields[0].strip())
    if instant_us is None:
        return Unusable(f"TIMESTAMP {shown(fields[0])} is no date and time")
    input_tokens = whole(fields[1], maximum=TOKENS_MAX)
    if input_tokens is None:
        return not_whole(COLUMNS[1], fields[1], maximum=TOKENS_MAX)
    output_tokens = whole(fields[2], maximum=TOKENS_MAX)
    if output_tokens is None:
        return not_whole(COLUMNS[2], fields[2], maximum=TOKENS_MAX)
    return Row(instant_us=instant_us, input_tokens=input_tokens, output_tokens=output_tokens)


def recognise(first_line: str) -> Reader | None:
    """Return the reader when the line is Azure's header."""
    names = tuple(name.strip() for name in fields_of(first_line))
    return Reader(read=read_row, reorder_rows=REORDER_ROWS) if names == COLUMNS else None


def _instant_us(text: str) -> int | None:
    try:
        instant = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=datetime.UTC)
    return (instant - _EPOCH) // _US


AZURE: Final = Format(
    name="Azure LLM inference 2023 and 2024", first_line=",".join(COLUMNS), recognise=recognise
)
