"""Verdicts: how streams judged the events of one partition, on the topic ``verdicts``.

Every verdict but *accepted* is published at the event's position; then ``judged through`` says up
to which offset silence means accepted.  Dead and late verdicts carry the original bytes: they are
the dead letters.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.positions import Position
from schemas.wire import decode_union


class VerdictKind(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    LATE = "late"
    DEAD = "dead"
    FORWARDED = "forwarded"


class DeadReason(StrEnum):
    """Why an event is dead; malformed events keep their decoder's reason in ``error``."""

    MALFORMED = "malformed"
    TOMBSTONE = "tombstone"
    UNKNOWN_POOL = "unknown_pool"
    UNKNOWN_ENTITLEMENT = "unknown_entitlement"
    CONFLICT = "conflict"
    """The id was used before with another body."""
    FUTURE = "future"
    """Event time beyond the broker's time and ``futureSecondsMax``."""
    MISPLACED = "misplaced"
    """Forwarded once already and still in the wrong partition."""


class VerdictCounts(msgspec.Struct, frozen=True):
    """Events of one partition by verdict; the five add up to what was read."""

    accepted: int = 0
    duplicate: int = 0
    late: int = 0
    dead: int = 0
    forwarded: int = 0

    @property
    def read(self) -> int:
        """All events read."""
        return self.accepted + self.duplicate + self.late + self.dead + self.forwarded

    def __add__(self, other: VerdictCounts) -> VerdictCounts:
        return VerdictCounts(
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.late + other.late,
            self.dead + other.dead,
            self.forwarded + other.forwarded,
        )


class Verdict(msgspec.Struct, frozen=True, kw_only=True, tag="verdict", tag_field="kind"):
    """One event that was not accepted."""

    position: Position
    verdict: VerdictKind
    reason: str = ""
    error: str = ""
    """What is wrong, for a person; at most 500 characters."""
    source: str = ""
    id: str = ""
    pool: str = ""
    entitlement: str = ""
    stored_us: int = 0
    """The broker's timestamp of the record: the only "now" of the judgement."""
    event_us: int = 0
    first: Position | None = None
    """The position that won, for duplicates and conflicts that still have it in memory."""
    replays: Position | None = None
    """The position that this event replays, when it is a replayed dead letter."""
    original: bytes | None = None
    """The record's value as read (base64 on the wire), for dead and late."""
    original_key: bytes | None = None
    original_headers: tuple[tuple[str, bytes], ...] = ()


class JudgedThrough(msgspec.Struct, frozen=True, kw_only=True, tag="judged", tag_field="kind"):
    """Up to ``offset`` (inclusive) every event of the partition that has no verdict is accepted."""

    epoch: int
    partition: int
    offset: int
    generation: int = 0
    counts: VerdictCounts = VerdictCounts()
    """Running totals of the partition through ``offset``."""
    floor_us: int = 0
    """The acceptance floor: event times before it are late; it never retreats."""


VerdictsMessage = Verdict | JudgedThrough


def decode_verdict(raw: bytes) -> VerdictsMessage:
    """Return the message on ``verdicts`` that ``raw`` holds."""
    message: VerdictsMessage = decode_union(raw, VerdictsMessage)
    return message
