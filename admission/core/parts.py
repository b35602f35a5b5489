"""Parts: the numbered parts of one state, put together before any of them is applied.

Records of one pool come in any mixture of old and new (a compacted topic keeps a part until its
key is written again).  Only the parts of the newest version seen are kept; when all are there
they make one state.  Reading the same records again gives the same states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from schemas.state import AdmissionState

PARTS_MAX: Final = 64
"""Parts of one state; a record that claims more is ignored."""


@dataclass(slots=True)
class Parts:
    """The newest parts of every pool."""

    _pools: dict[str, dict[int, AdmissionState]] = field(default_factory=dict)

    def put(self, part: AdmissionState) -> AdmissionState | None:
        """Add one part; return the whole state when this completes it (or repeats a part of it)."""
        if not 0 <= part.part < part.parts <= PARTS_MAX:
            return None
        parts = self._pools.setdefault(part.pool, {})
        newest = max((known.version for known in parts.values()), default=part.version)
        if part.version < newest:
            return None
        if part.version > newest:
            parts.clear()
        parts[part.part] = part
        return self.whole(part.pool)

    def whole(self, pool: str) -> AdmissionState | None:
        """Return the newest state of a pool, if all its parts are here."""
        parts = self._pools.get(pool, {})
        if not parts or len(parts) < next(iter(parts.values())).parts:
            return None
        ordered = [parts[number] for number in sorted(parts)]
        return replace(
            ordered[0],
            admitters=tuple(view for part in ordered for view in part.admitters),
            entitlements=tuple(each for part in ordered for each in part.entitlements),
        )

    def forget(self, pool: str) -> None:
        """Drop a pool's parts."""
        self._pools.pop(pool, None)
