"""Marks: which unnumbered ids one partition has accepted, and from when on it can tell.

An accepted event leaves a mark: a digest of its identity, a digest of its body and where it was
accepted.  Marks are kept in blocks and dropped block by block, oldest first: when their horizon has
passed, and earlier when the partition's budget is full.  The newest block grows fold by fold until
it is worth a record of its own.  Whenever a block goes,
the acceptance floor rises above every event time in it, so an event whose mark may be gone is
*late*, never counted twice.  Times are microseconds.

A mark is one entry of a dictionary of integers, about 135 bytes: no object, no text.
"""

from __future__ import annotations

import base64
import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec
import xxhash

from schemas.ledger import MarksEntry
from schemas.positions import Position

DIGEST_MASK: Final = (1 << 60) - 1
"""Identities are 60 bits: an integer of 32 bytes.  Two of 10 million ids agree by chance once in
20,000 such sets; the bodies then differ and the second is a conflict, never silently dropped."""
BODY_MASK: Final = (1 << 32) - 1
UNKNOWN_BODY: Final = 0
PLACE_BITS: Final = 12
"""Bits of a place that hold the index inside the record (``EVENTS_PER_RECORD_MAX``)."""
BLOCK_MARKS_MIN: Final = 64
"""A block with fewer marks is written again with those of the next fold, under the same key."""
_SERIAL_SHIFT: Final = 52
_INDEX_SHIFT: Final = 32
_INDEX_MASK: Final = (1 << 20) - 1

body_digest = xxhash.xxh3_64_intdigest


def body_of(body: bytes) -> int:
    """Return the 32-bit digest of an event's bytes; never ``UNKNOWN_BODY``."""
    return body_digest(body) & BODY_MASK or 1


def identity_of(source: str, event_id: str) -> int:
    """Return the 60-bit digest of (source, id)."""
    name = msgspec.json.encode([source, event_id])
    digest = hashlib.blake2b(name, digest_size=12).digest()
    return int.from_bytes(digest[:8], "little") & DIGEST_MASK


class Seen(NamedTuple):
    """An earlier event with this identity; a body or a place may be forgotten."""

    body: int = UNKNOWN_BODY
    first: Position | None = None


@dataclass(frozen=True)
class Block:
    """Marks that are stored and dropped together."""

    first_offset: int
    epoch: int
    stored_us: int
    event_us_max: int
    identities: array[int]
    places: array[int]

    @property
    def key(self) -> tuple[int, int]:
        """What names the block: epoch and first offset."""
        return self.epoch, self.first_offset


@dataclass(eq=False)
class Marks:
    """The marks of one partition, oldest block first."""

    partition: int = 0
    known: dict[int, int] = field(default_factory=dict)
    """By identity: serial number of the block, index in it, digest of the body."""
    blocks: list[Block] = field(default_factory=list)
    first_serial: int = 1

    def __len__(self) -> int:
        return len(self.known)

    def __eq__(self, other: object) -> bool:
        """Whether both remember the same, in the same blocks."""
        if not isinstance(other, Marks):
            return NotImplemented
        return self.blocks == other.blocks and dict(self.remembered()) == dict(other.remembered())

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, entry: MarksEntry) -> None:
        """Remember a block; it may be the newest one with more marks."""
        block, bodies = _unpacked(entry)
        self.partition = entry.partition
        known = 0
        if self.blocks and self.blocks[-1].key == block.key:
            known = len(self.blocks.pop().identities)
        self.blocks.append(block)
        base = (self.first_serial + len(self.blocks) - 1) << _SERIAL_SHIFT
        for index in range(known, len(block.identities)):
            mark = base | index << _INDEX_SHIFT | bodies[index]
            self.known.setdefault(block.identities[index], mark)

    def growing(self, *, dropped: int) -> Block | None:
        """Return the newest block if the next fold's marks belong into it."""
        if len(self.blocks) <= dropped:
            return None
        block = self.blocks[-1]
        return block if len(block.identities) < BLOCK_MARKS_MIN else None

    def bodies_of(self, block: Block) -> Sequence[int]:
        """Return the bodies' digests of a block's marks."""
        return [self.known[identity] & BODY_MASK for identity in block.identities]

    def seen(self, identity: int, *, dropped: int = 0) -> Seen | None:
        """Return what accepted the identity, as if the ``dropped`` oldest blocks were gone."""
        mark = self.known.get(identity)
        if mark is None:
            return None
        number = (mark >> _SERIAL_SHIFT) - self.first_serial
        if number < dropped:
            return None
        block = self.blocks[number]
        place = block.places[(mark >> _INDEX_SHIFT) & _INDEX_MASK]
        return Seen(mark & BODY_MASK, position_of_place(place, block.epoch, self.partition))

    def drop(self, count: int) -> None:
        """Forget the ``count`` oldest blocks."""
        for number, block in enumerate(self.blocks[:count]):
            serial = self.first_serial + number
            for identity in block.identities:
                if self.known.get(identity, 0) >> _SERIAL_SHIFT == serial:
                    del self.known[identity]
        del self.blocks[:count]
        self.first_serial += count

    def to_drop(self, *, before_us: int, budget: int) -> tuple[int, bool]:
        """Return how many of the oldest blocks must go, and whether the budget made them go.

        ``before_us``: blocks stored earlier are past their horizon.
        """
        expired = 0
        while expired < len(self.blocks) and self.blocks[expired].stored_us < before_us:
            expired += 1
        gone = sum(len(block.identities) for block in self.blocks[:expired])
        kept = len(self.known) - gone
        count = expired
        while kept > budget and count < len(self.blocks) - 1:
            kept -= len(self.blocks[count].identities)
            count += 1
        return count, count > expired

    def remembered(self) -> Iterator[tuple[int, Seen]]:
        """Yield every identity with what accepted it."""
        for identity in self.known:
            seen = self.seen(identity)
            assert seen is not None
            yield identity, seen


def place_of(offset: int, index: int) -> int:
    """Return where an event stands in its partition, as one number."""
    return offset << PLACE_BITS | index


def position_of_place(place: int, epoch: int, partition: int) -> Position:
    """Return the position that ``place_of`` was made from."""
    return Position(epoch, partition, place >> PLACE_BITS, place & ((1 << PLACE_BITS) - 1))


def marks_entry(
    marks: Marks,
    fresh: Sequence[tuple[int, int, int]],
    *,
    dropped: int,
    position: Position,
    stored_us: int,
    event_us_max: int,
) -> MarksEntry | None:
    """Return the block that a fold's marks (identity, body, place) go into; None without marks.

    ``dropped``: how many of the oldest blocks the fold forgets.
    """
    if not fresh:
        return None
    block = marks.growing(dropped=dropped)
    if block is not None and block.epoch != position.epoch:
        block = None
    digests = packed("Q", [identity for identity, _, _ in fresh])
    bodies = packed("I", [body for _, body, _ in fresh])
    places = packed("Q", [place for _, _, place in fresh])
    if block is not None:
        digests = block.identities.tobytes() + digests
        bodies = packed("I", marks.bodies_of(block)) + bodies
        places = block.places.tobytes() + places
        event_us_max = max(event_us_max, block.event_us_max)
    return MarksEntry(
        partition=position.partition,
        position=position,
        stored_us=stored_us,
        event_us_max=event_us_max,
        digests=digests,
        bodies=bodies,
        places=places,
    )


def packed(code: str, numbers: Sequence[int]) -> bytes:
    """Return the numbers as little-endian bytes (every machine that Kafka's clients run on)."""
    return array(code, numbers).tobytes()


def unpacked(code: str, raw: bytes) -> array[int]:
    """Return the numbers that ``packed`` was given."""
    numbers: array[int] = array(code)
    numbers.frombytes(raw)
    return numbers


def first_offset_of(entry: MarksEntry) -> int:
    """Return the offset that names the entry in its key."""
    if entry.marks:
        return entry.marks[0].offset
    return int.from_bytes(entry.places[:8], "little") >> PLACE_BITS


def _unpacked(entry: MarksEntry) -> tuple[Block, Sequence[int]]:
    if entry.marks:  # as it was written before digests were packed; its bodies were others
        decoded = [base64.b64decode(mark.identity) for mark in entry.marks]
        identities = array(
            "Q", (int.from_bytes(each[:8], "little") & DIGEST_MASK for each in decoded)
        )
        places = array("Q", (place_of(mark.offset, mark.index) for mark in entry.marks))
        bodies: Sequence[int] = [UNKNOWN_BODY] * len(identities)
    else:
        identities, places = unpacked("Q", entry.digests), unpacked("Q", entry.places)
        bodies = unpacked("I", entry.bodies)
    block = Block(
        first_offset=first_offset_of(entry),
        epoch=entry.position.epoch,
        stored_us=entry.stored_us,
        event_us_max=entry.event_us_max,
        identities=identities,
        places=places,
    )
    return block, bodies


def floor_above(blocks: Sequence[Block]) -> int:
    """Return the smallest event time that none of the dropped blocks can hold."""
    return max((block.event_us_max + 1 for block in blocks), default=0)


def marks_of(entries: Sequence[MarksEntry]) -> Marks:
    """Return the marks that stored entries hold, in the order of their positions."""
    marks = Marks()
    for entry in sorted(entries, key=lambda entry: entry.position):
        marks.add(entry)
    return marks
