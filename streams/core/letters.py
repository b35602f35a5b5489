"""Letters: what is published of an event that was not accepted, and how one is forwarded.

Dead and late verdicts carry the original bytes, so that an operator can replay them; of a frame
(many events in one record) only the event's own part.  An original that would not fit one record
of ``verdicts`` is left out and the error says so: it still stands at its position in ``usage``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.positions import Position
from schemas.usage import (
    CONTENT_TYPE_HEADER,
    FORWARDED_HEADER,
    STRUCTURED,
    Decoded,
    Headers,
    UsageEvent,
)
from schemas.verdicts import Verdict, VerdictKind
from schemas.wire import decode
from streams.core.judge import NAME_CHARS_MAX, Record, Ruling
from streams.core.outcome import Forward

ORIGINAL_BYTES_MAX: Final = 512 * 1_024
"""Value and headers of an original; on the wire they grow by a third (base64)."""


class Letters:
    """Makes the letters of one record; a frame is split once, when the first is needed."""

    def __init__(self, record: Record, *, events: int) -> None:
        self._record = record
        self._is_frame = events > 1
        self._parts: list[msgspec.Raw] | None = None

    def verdict(self, decoded: Decoded, *, ruling: Ruling, position: Position) -> Verdict:
        """Return the verdict on the event at ``position``."""
        event = decoded if isinstance(decoded, UsageEvent) else None
        original, key, headers, note = self._original(ruling, position.index)
        return Verdict(
            position=position,
            verdict=ruling.kind,
            reason=ruling.reason,
            error=f"{note}{ruling.error}",
            source="" if event is None else event.source,
            id="" if event is None else event.id,
            pool="" if event is None else event.data.pool[:NAME_CHARS_MAX],
            entitlement="" if event is None else event.data.entitlement[:NAME_CHARS_MAX],
            stored_us=self._record.stored_us,
            event_us=0 if event is None else event.event_us,
            first=ruling.first,
            replays=ruling.replays,
            original=original,
            original_key=key,
            original_headers=headers,
        )

    def forward(self, event: UsageEvent, *, position: Position) -> Forward:
        """Return the record unchanged but for the header; an event of a frame goes on its own."""
        value, headers = self._part(position.index)
        mark = (FORWARDED_HEADER, str(position).encode())
        return Forward(event.data.pool, self._record.key, value or b"", (*headers, mark))

    def _original(
        self, ruling: Ruling, index: int
    ) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...], str]:
        """Return value, key and headers of a dead letter, and a note when they are left out."""
        if ruling.kind not in (VerdictKind.DEAD, VerdictKind.LATE):
            return None, None, (), ""
        value, headers = self._part(index)
        size = len(value or b"") + len(self._record.key or b"")
        size += sum(len(name) + len(content) for name, content in headers)
        if size > ORIGINAL_BYTES_MAX:
            return None, None, (), f"(original of {size} bytes left out) "
        return value, self._record.key, tuple(headers), ""

    def _part(self, index: int) -> tuple[bytes | None, Headers]:
        """Return value and headers of one event as a record of its own."""
        if not self._is_frame or self._record.value is None:
            return self._record.value, self._record.headers
        if self._parts is None:
            self._parts = decode(self._record.value, list[msgspec.Raw])
        kept = [each for each in self._record.headers if each[0] != CONTENT_TYPE_HEADER]
        return bytes(self._parts[index]), [(CONTENT_TYPE_HEADER, STRUCTURED), *kept]
