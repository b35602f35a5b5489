"""Dedupe marks: which ids one partition has accepted, and from when on it can tell.

An accepted event leaves a mark: a digest of its identity, a digest of its body and where it was
accepted.  Marks are kept in blocks, one per fold, and dropped block by block, oldest first: when
their horizon has passed, and earlier when the partition's budget is full.  Whenever a block goes,
the acceptance floor rises above every event time in it, so an event whose mark may be gone is
*late*, never counted twice.  Times are microseconds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from schemas.ledger import Mark, MarksEntry
from schemas.positions import Position
from schemas.usage import UsageEvent

IDENTITY_BYTES: Final = 12
BODY_BYTES: Final = 6

Known = tuple[str, Position]
"""Body digest and where it was accepted."""


def identity_of(event: UsageEvent, *, replays: Position | None = None) -> str:
    """Return the digest of (source, id), or of the position that a replayed dead letter names."""
    name = [event.source, event.id] if replays is None else ["", f"replay {replays}"]
    return _digest(msgspec.json.encode(name), size=IDENTITY_BYTES)


def body_of(event: UsageEvent) -> str:
    """Return the digest of the event's data, the same in every CloudEvents mode."""
    return _digest(msgspec.json.encode(event.data, order="sorted"), size=BODY_BYTES)


def _digest(data: bytes, *, size: int) -> str:
    digest = hashlib.blake2b(data, digest_size=size).digest()
    return base64.b64encode(digest).decode()


@dataclass(frozen=True)
class Block:
    """What is remembered of one stored ``MarksEntry`` besides its marks' digests."""

    first_offset: int
    stored_us: int
    event_us_max: int
    identities: tuple[str, ...]


class _Without(Mapping[str, Known]):
    """A view of the known ids without those that a fold is about to forget."""

    def __init__(self, known: Mapping[str, Known], gone: frozenset[str]) -> None:
        self._known = known
        self._gone = gone

    def __getitem__(self, identity: str) -> Known:
        if identity in self._gone:
            raise KeyError(identity)
        return self._known[identity]

    def __iter__(self) -> Iterator[str]:
        return (identity for identity in self._known if identity not in self._gone)

    def __len__(self) -> int:
        return len(self._known) - len(self._gone)


@dataclass
class Marks:
    """The marks of one partition, oldest block first."""

    known: dict[str, Known] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.known)

    def add(self, entry: MarksEntry) -> None:
        """Remember the marks of one fold."""
        epoch = entry.position.epoch
        for mark in entry.marks:
            place = Position(epoch, entry.partition, mark.offset, mark.index)
            self.known.setdefault(mark.identity, (mark.body, place))
        identities = tuple(mark.identity for mark in entry.marks)
        self.blocks.append(
            Block(first_offset_of(entry), entry.stored_us, entry.event_us_max, identities)
        )

    def without(self, count: int) -> Mapping[str, Known]:
        """Return the known ids as if the ``count`` oldest blocks were gone."""
        if not count:
            return self.known
        blocks = self.blocks[:count]
        return _Without(self.known, frozenset(i for block in blocks for i in block.identities))

    def drop(self, count: int) -> None:
        """Forget the ``count`` oldest blocks."""
        for block in self.blocks[:count]:
            for identity in block.identities:
                self.known.pop(identity, None)
        del self.blocks[:count]

    def to_drop(self, *, before_us: int, budget: int) -> tuple[int, bool]:
        """Return how many of the oldest blocks must go, and whether the budget made them go.

        ``before_us``: blocks stored earlier are past their horizon.
        """
        expired = 0
        while expired < len(self.blocks) and self.blocks[expired].stored_us < before_us:
            expired += 1
        kept = sum(len(block.identities) for block in self.blocks[expired:])
        count = expired
        while kept > budget and count < len(self.blocks) - 1:
            kept -= len(self.blocks[count].identities)
            count += 1
        return count, count > expired


def first_offset_of(entry: MarksEntry) -> int:
    """Return the offset that names the entry in its key."""
    return entry.marks[0].offset


def floor_above(blocks: Sequence[Block]) -> int:
    """Return the smallest event time that none of the dropped blocks can hold."""
    return max((block.event_us_max + 1 for block in blocks), default=0)


def marks_of(entries: Sequence[MarksEntry]) -> Marks:
    """Return the marks that stored entries hold, in the order of their positions."""
    marks = Marks()
    for entry in _in_order(entries):
        marks.add(entry)
    return marks


def _in_order(entries: Sequence[MarksEntry]) -> Iterator[MarksEntry]:
    yield from sorted(entries, key=lambda entry: entry.position)


def new_mark(event: UsageEvent, *, identity: str, position: Position) -> Mark:
    """Return the mark of an event that is accepted here."""
    return Mark(identity, body_of(event), position.offset, position.index)
