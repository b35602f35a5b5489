"""BurstGPT: CSV with ``Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type``.

Read in the dataset's description (HPMLL/BurstGPT, README) and in public readers of its files.
Release 2 adds ``Session ID`` and ``Elapsed time`` after ``Timestamp`` in its third file, so columns
are found by their names.  ``Timestamp`` is seconds from midnight of the first day, whole (``5``) or
with a point (``19440110.0``); it need not begin near 0.  A request that failed when it was recorded
has 0 response tokens: nobody knows what it would have needed, so it is left out and counted.
(The files named ``without_fails`` have none.)  A session is a conversation, no tenant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from schemas.units import US_PER_S
from simulation.traces.rows import (
    TOKENS_MAX,
    Format,
    Reader,
    ReadRow,
    Row,
    Unusable,
    fields_of,
    not_whole,
    shown,
    whole,
    wrong_fields,
)

NEEDED: Final = ("Timestamp", "Model", "Request tokens", "Response tokens")
KNOWN: Final = (*NEEDED, "Session ID", "Elapsed time", "Total tokens", "Log Type")
REORDER_ROWS: Final = 10_000
_SECONDS: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?")


def recognise(first_line: str) -> Reader | None:
    """Return the reader when the line names BurstGPT's columns, in any order."""
    names = [name.strip() for name in fields_of(first_line)]
    at = {name: index for index, name in enumerate(names)}
    if not set(NEEDED) <= set(names) <= set(KNOWN) or len(at) != len(names):
        return None
    return Reader(read=_reader(at), reorder_rows=REORDER_ROWS)


def _reader(at: Mapping[str, int]) -> ReadRow:
    timestamp, model, request, response = (at[name] for name in NEEDED)

    def read_row(line: str) -> Row | Unusable:
        fields = fields_of(line)
        if len(fields) != len(at):
            return wrong_fields(line, fields, wanted=len(at))
        instant_us = _instant_us(fields[timestamp].strip())
        if instant_us is None:
            return Unusable(f"Timestamp {shown(fields[timestamp])} is no number of seconds")
        input_tokens = whole(fields[request], maximum=TOKENS_MAX)
        if input_tokens is None:
            return not_whole(NEEDED[2], fields[request], maximum=TOKENS_MAX)
        output_tokens = whole(fields[response], maximum=TOKENS_MAX)
        if output_tokens is None:
            return not_whole(NEEDED[3], fields[response], maximum=TOKENS_MAX)
        if output_tokens == 0:
            return Unusable("the recorded request failed: 0 response tokens", failed=True)
        return Row(
            instant_us=instant_us,
            model=fields[model].strip(),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )

    return read_row


def _instant_us(text: str) -> int | None:
    found = _SECONDS.fullmatch(text)
    if found is None:
        return None
    return int(found[1]) * US_PER_S + int((found[2] or "").ljust(6, "0")[:6])


BURSTGPT: Final = Format(
    name="BurstGPT",
    first_line="Timestamp,[Session ID,Elapsed time,]Model,Request tokens,Response tokens,"
    "Total tokens,Log Type",
    recognise=recognise,
)
