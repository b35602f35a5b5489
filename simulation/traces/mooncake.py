"""Mooncake: JSON lines with ``timestamp``, ``input_length``, ``output_length`` and ``hash_ids``.

Read in public readers of the files (kvcache-ai/Mooncake, FAST25-release/traces; guidellm, aiperf,
dynamo).  ``timestamp`` is milliseconds from the first request, lengths are tokens, ``hash_ids``
names the prompt's blocks of 512 tokens for prefix caches; it is not used here.  There is no header:
the first line is a request.  Lines with ``chat_id`` look alike but count seconds (the traces of
Alibaba's Bailian); they are refused rather than read a thousand times too fast.
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.units import US_PER_MS
from simulation.traces.rows import LINE_CHARS_MAX, TOKENS_MAX, Format, Reader, Row, Unusable

REORDER_ROWS: Final = 10_000
TIMESTAMP_MS_MAX: Final = 10**15


class _Line(msgspec.Struct, frozen=True):
    timestamp: int | float
    input_length: int
    output_length: int
    chat_id: msgspec.Raw | None = None


_DECODER: Final = msgspec.json.Decoder(_Line)


def read_row(line: str) -> Row | Unusable:
    """Return the request in one line."""
    if len(line) > LINE_CHARS_MAX:
        return Unusable(f"is longer than {LINE_CHARS_MAX} characters")
    try:
        found = _DECODER.decode(line.strip())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        return Unusable(f"is no request in JSON: {error}")
    if found.chat_id is not None:
        return Unusable("has a chat_id: its timestamp would be seconds, not milliseconds")
    if not 0 <= found.timestamp <= TIMESTAMP_MS_MAX:
        return Unusable(f"timestamp {found.timestamp} is not from 0 to {TIMESTAMP_MS_MAX} ms")
    for name, length in (
        ("input_length", found.input_length),
        ("output_length", found.output_length),
    ):
        if not 0 <= length <= TOKENS_MAX:
            return Unusable(f"{name} {length} is not from 0 to {TOKENS_MAX}")
    return Row(
        instant_us=int(found.timestamp * US_PER_MS),
        input_tokens=found.input_length,
        output_tokens=found.output_length,
    )


def recognise(first_line: str) -> Reader | None:
    """Return the reader when the line is a request."""
    if not first_line.lstrip().startswith("{") or isinstance(read_row(first_line), Unusable):
        return None
    return Reader(read=read_row, first_line_is_row=True, reorder_rows=REORDER_ROWS)


MOONCAKE: Final = Format(
    name="Mooncake",
    first_line='{"timestamp": <ms>, "input_length": <tokens>, "output_length": <tokens>, '
    '"hash_ids": [...]}',
    recognise=recognise,
)
