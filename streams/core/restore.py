"""Restore: the keys of the two changelogs, and which of several generations' records is true.

A key ends in the writer's group generation, so a late write of a former owner stands beside the
new owner's instead of in its place, whatever compaction keeps.  Over the generations of a key the
highest position (version, for ticks) wins; the others are superseded and get tombstones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.ledger import (
    LedgerEntry,
    MarksEntry,
    MinuteEntry,
    PartitionEntry,
    TickRecord,
    TotalsEntry,
    decode_entry,
)
from schemas.partitioning import partition_of
from schemas.positions import Version
from schemas.wire import decode, encode
from streams.core.marks import first_offset_of, marks_of
from streams.core.outcome import Outcome, States
from streams.core.windows import MinuteKey


class StoredKey(NamedTuple):
    """A changelog key taken apart: what it is about, and who wrote it."""

    base: bytes
    generation: int

    def __bytes__(self) -> bytes:
        return b"%s|%d" % (self.base, self.generation)


def stored_key(raw: bytes) -> StoredKey:
    """Return the key taken apart; raise ``ValueError`` when it names no generation."""
    base, _, generation = raw.rpartition(b"|")
    return StoredKey(base, int(generation))


def base_of(entry: LedgerEntry) -> bytes:
    """Return what the entry's key says before the generation."""
    match entry:
        case TotalsEntry():
            return f"t|{entry.pool}|{entry.entitlement}".encode()
        case MinuteEntry():
            return minute_base((entry.pool, entry.entitlement, entry.minute_us))
        case MarksEntry():
            return marks_base(entry.partition, first_offset_of(entry))
        case PartitionEntry():
            return b"p|%d" % entry.partition


def minute_base(key: MinuteKey) -> bytes:
    """Return the base of a minute's key."""
    return f"m|{key[0]}|{key[1]}|{key[2]}".encode()


def marks_base(partition: int, first_offset: int) -> bytes:
    """Return the base of a marks block's key."""
    return b"d|%d|%d" % (partition, first_offset)


def debt_key(pool: str, generation: int) -> bytes:
    """Return the changelog key of a pool's tick record."""
    return bytes(StoredKey(pool.encode(), generation))


def changes_of(
    outcome: Outcome, states: States, *, generations: Mapping[bytes, int], generation: int
) -> list[tuple[bytes, bytes | None]]:
    """Return the changelog records of an outcome, superseded generations' tombstones included.

    ``generations`` says under which generation each base is stored; ``states`` are those that the
    outcome was made from.
    """
    written = {base_of(entry): encode(entry) for entry in outcome.entries}
    changes: list[tuple[bytes, bytes | None]] = []
    for base in (*removed(states, outcome), *written):
        former = generations.get(base)
        if former is not None and (former != generation or base not in written):
            changes.append((bytes(StoredKey(base, former)), None))
    changes += [(bytes(StoredKey(base, generation)), value) for base, value in written.items()]
    return changes


def removed(states: States, outcome: Outcome) -> Iterator[bytes]:
    """Yield the bases that the outcome takes out of the table."""
    for key in outcome.closed_minutes:
        yield minute_base(key)
    for block in states.marks.blocks[: outcome.dropped_blocks]:
        assert outcome.partition is not None
        yield marks_base(outcome.partition.partition, block.first_offset)


@dataclass(frozen=True)
class Restored:
    """The states that the changelog of one partition holds."""

    states: States
    generations: dict[bytes, int] = field(default_factory=dict)
    """The generation under which each base is stored now."""
    superseded: tuple[bytes, ...] = ()
    """Keys whose records lost."""


def restore(raw: Iterable[tuple[bytes, bytes]]) -> Restored:
    """Return the states of one partition from its changelog records, in any order."""
    winners: dict[bytes, tuple[LedgerEntry, int]] = {}
    superseded: list[bytes] = []
    for key, value in raw:
        base, generation = stored_key(key)
        entry = decode_entry(value)
        winner = winners.get(base)
        if winner is None or (entry.position, generation) > (winner[0].position, winner[1]):
            if winner is not None:
                superseded.append(bytes(StoredKey(base, winner[1])))
            winners[base] = (entry, generation)
        else:
            superseded.append(key)
    entries = [entry for entry, _ in winners.values()]
    generations = {base: generation for base, (_, generation) in winners.items()}
    return Restored(_states(entries), generations, tuple(superseded))


def _states(entries: Iterable[LedgerEntry]) -> States:
    states = States()
    marks: list[MarksEntry] = []
    for entry in entries:
        match entry:
            case TotalsEntry():
                states.totals[(entry.pool, entry.entitlement)] = entry
            case MinuteEntry():
                states.minutes[(entry.pool, entry.entitlement, entry.minute_us)] = entry
            case MarksEntry():
                marks.append(entry)
            case PartitionEntry():
                states.partition = entry
    states.marks = marks_of(marks)
    return states


def latest_ticks(raw: Mapping[bytes, bytes]) -> dict[str, tuple[TickRecord, int]]:
    """Return each pool's latest tick record and the generation in its key."""
    latest: dict[str, tuple[TickRecord, int]] = {}
    for key, value in raw.items():
        generation = stored_key(key).generation
        record = decode(value, TickRecord)
        known = latest.get(record.pool)
        if known is None or _order(record, generation) > _order(*known):
            latest[record.pool] = (record, generation)
    return latest


def _order(record: TickRecord, generation: int) -> tuple[Version, int]:
    return record.version, generation


def partition_of_base(base: bytes, *, partitions: int) -> int:
    """Return the partition that a key of ``consumption`` belongs to."""
    kind, first, *_ = base.split(b"|")
    if kind in (b"t", b"m"):
        return partition_of(first.decode(), partitions)
    return int(first)
