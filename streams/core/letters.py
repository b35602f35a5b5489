"""Letters: what is published of an event that was not accepted, and how one is forwarded.

Dead and late verdicts carry the original bytes, so that an operator can replay them; of a frame
(many events in one record) only the event's own part.  A misplaced frame is split by pool.  An
original that would not fit one record of ``verdicts`` is left out and the error says so: it still
stands at its position in ``usage``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.positions import Position
from schemas.units import US_PER_MS
from schemas.usage import (
    BATCH,
    CONTENT_TYPE_HEADER,
    FORWARDED_HEADER,
    NDJSON,
    PLAIN_HEADER,
    Decoded,
    UsageEvent,
)
from schemas.verdicts import Verdict, VerdictKind
from streams.core.judge import NAME_CHARS_MAX, Record, Ruling
from streams.core.outcome import Forward

ORIGINAL_BYTES_MAX: Final = 512 * 1_024
"""Value and headers of an original; on the wire they grow by a third (base64)."""


class Letters:
    """Makes the letters of one record; ``parts`` are the bytes of its events."""

    def __init__(self, record: Record, *, parts: Sequence[bytes]) -> None:
        self._record = record
        self._parts = parts
        self._headers = tuple(record.headers)
        if record.value is not None and parts[0] is not record.value:  # it was split
            kept = (each for each in record.headers if each[0] != CONTENT_TYPE_HEADER)
            self._headers = (PLAIN_HEADER, *kept)

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
            stored_us=self._record.timestamp * US_PER_MS,
            event_us=0 if event is None else event.event_us,
            first=ruling.first,
            replays=ruling.replays,
            original=original,
            original_key=key,
            original_headers=headers,
        )

    def forwards(self, misplaced: Sequence[tuple[UsageEvent, Position]]) -> list[Forward]:
        """Return the misplaced events as one record per pool, each event's bytes unchanged."""
        by_pool: dict[str, list[Position]] = {}
        for event, position in misplaced:
            by_pool.setdefault(event.data.pool, []).append(position)
        return [self._forward(pool, positions) for pool, positions in by_pool.items()]

    def _forward(self, pool: str, positions: Sequence[Position]) -> Forward:
        mark = (FORWARDED_HEADER, str(positions[0]).encode())
        parts = [self._parts[position.index] for position in positions]
        if len(parts) == 1:
            return Forward(pool, self._record.key, parts[0], (*self._headers, mark))
        kept = (each for each in self._headers if each[0] != CONTENT_TYPE_HEADER)
        if any(b"\n" in part for part in parts):
            frame, content_type = b"[" + b",".join(parts) + b"]", BATCH
        else:
            frame, content_type = b"\n".join(parts), NDJSON
        headers = ((CONTENT_TYPE_HEADER, content_type), *kept, mark)
        return Forward(pool, self._record.key, frame, headers)

    def _original(
        self, ruling: Ruling, index: int
    ) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...], str]:
        """Return value, key and headers of a dead letter, and a note when they are left out."""
        if ruling.kind not in (VerdictKind.DEAD, VerdictKind.LATE):
            return None, None, (), ""
        value = self._record.value if self._record.value is None else self._parts[index]
        size = len(value or b"") + len(self._record.key or b"")
        size += sum(len(name) + len(content) for name, content in self._headers)
        if size > ORIGINAL_BYTES_MAX:
            return None, None, (), f"(original of {size} bytes left out) "
        return value, self._record.key, self._headers, ""
