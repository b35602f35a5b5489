"""Restore: the keys of the two changelogs, and which of several generations' records is true.

A key ends in the writer's group generation, so a late write of a former owner stands beside the
new owner's instead of in its place, whatever compaction keeps.  Over the generations of a key the
highest position (version, for ticks) wins; the others are superseded and get tombstones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar, cast

from schemas.ledger import (
    LedgerEntry,
    LineEntry,
    MarksEntry,
    NumberedEntry,
    PartitionEntry,
    ReplayedEntry,
    TickRecord,
    TotalsEntry,
    WindowEntry,
    decode_entry,
)
from schemas.positions import Version
from schemas.units import US_PER_HOUR, US_PER_MINUTE
from schemas.wire import decode, encode
from streams.core.lines import LineKey, bodies_of
from streams.core.marks import first_offset_of, marks_of
from streams.core.outcome import Outcome, States, WindowKey, key_of, size_of
from streams.core.windows import changed_since

K = TypeVar("K")


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
        case WindowEntry():
            return window_base(key_of(entry))
        case LineEntry():
            return line_base(entry.partition, (entry.pool, entry.source))
        case MarksEntry():
            return marks_base(entry.partition, first_offset_of(entry))
        case NumberedEntry():
            return numbered_base(entry.partition, entry.first_offset)
        case ReplayedEntry():
            return f"r|{entry.partition}|{entry.replays}".encode()
        case PartitionEntry():
            return b"p|%d" % entry.partition


def window_base(key: WindowKey) -> bytes:
    """Return the base of a window's key."""
    (window_us, start_us), (pool, entitlement) = key
    if window_us == US_PER_MINUTE:
        return f"m|{pool}|{entitlement}|{start_us}".encode()
    if window_us == US_PER_HOUR:
        return f"h|{pool}|{entitlement}|{start_us}".encode()
    return f"s|{pool}|{entitlement}|{window_us}|{start_us}".encode()


def line_base(partition: int, key: LineKey) -> bytes:
    """Return the base of a line's key; a source may be any text."""
    pool, source = key
    return f"q|{partition}|{source}|{pool}".encode()


def marks_base(partition: int, first_offset: int) -> bytes:
    """Return the base of a marks block's key."""
    return b"d|%d|%d" % (partition, first_offset)


def numbered_base(partition: int, first_offset: int) -> bytes:
    """Return the base of the key of a block of numbered bodies."""
    return b"n|%d|%d" % (partition, first_offset)


def debt_key(pool: str, generation: int) -> bytes:
    """Return the changelog key of a pool's tick record."""
    return bytes(StoredKey(pool.encode(), generation))


def changes_of(
    outcome: Outcome, states: States, *, generations: Mapping[bytes, int], generation: int
) -> list[tuple[bytes, bytes | None]]:
    """Return the changelog records of an outcome, superseded generations' tombstones included.

    ``generations`` holds the bases that are still stored under an earlier generation; ``states``
    are those that the outcome was made from.
    """
    suffix = b"|%d" % generation
    changes: list[tuple[bytes, bytes | None]] = []
    for base in removed(states, outcome):
        former = generations.get(base)
        changes.append((base + suffix if former is None else b"%s|%d" % (base, former), None))
    written = [(base_of(entry), entry) for entry in outcome.entries]
    if generations:
        for base, _ in written:
            former = generations.get(base)
            if former is not None:
                changes.append((b"%s|%d" % (base, former), None))
    changes += [(base + suffix, encode(entry)) for base, entry in written]
    return changes


def rewritten(outcome: Outcome, states: States, generations: dict[bytes, int]) -> None:
    """Take out of ``generations`` what the outcome's record batch writes or removes."""
    if generations:
        for base in removed(states, outcome):
            generations.pop(base, None)
        for entry in outcome.entries:
            generations.pop(base_of(entry), None)


def removed(states: States, outcome: Outcome) -> Iterator[bytes]:
    """Yield the bases that the outcome takes out of the table, of those that are in it."""
    if outcome.partition is None:
        return
    partition = outcome.partition.partition
    for key in outcome.closed_windows:
        if states.window(key) is not None:
            yield window_base(key)
    for block in states.marks.blocks[: outcome.dropped_blocks]:
        yield marks_base(partition, block.first_offset)
    for entry in states.bodies.blocks[: outcome.dropped_bodies]:
        yield numbered_base(partition, entry.first_offset)
    for line in outcome.dropped_lines:
        yield line_base(partition, line)


@dataclass(frozen=True)
class Restored:
    """The states that the changelog of one partition holds."""

    states: States
    generations: dict[bytes, int] = field(default_factory=dict)
    """The generation under which each base is stored, until it is written again."""
    superseded: tuple[bytes, ...] = ()
    """Keys whose records lost."""


def restore(raw: Iterable[tuple[bytes, bytes]]) -> Restored:
    """Return the states of one partition from its changelog records, in any order."""
    entries: dict[bytes, LedgerEntry] = {}
    generations: dict[bytes, int] = {}
    superseded: list[bytes] = []
    for key, value in raw:
        base, _, suffix = key.rpartition(b"|")
        generation = int(suffix)
        entry = decode_entry(value)
        known = entries.get(base)
        if known is not None:
            former = generations[base]
            if (entry.position, generation) <= (known.position, former):
                superseded.append(key)
                continue
            superseded.append(bytes(StoredKey(base, former)))
        entries[base] = entry
        generations[base] = generation
    return Restored(_states(entries.values()), generations, tuple(superseded))


def _states(entries: Iterable[LedgerEntry]) -> States:
    kinds: dict[type, list[LedgerEntry]] = {}
    for entry in entries:
        kinds.setdefault(type(entry), []).append(entry)

    def of(kind: type[K]) -> list[K]:
        return cast(list[K], kinds.get(kind, []))

    states = States(
        partition=next(iter(of(PartitionEntry)), None),
        totals={(each.pool, each.entitlement): each for each in of(TotalsEntry)},
        marks=marks_of(of(MarksEntry)),
        lines={(each.pool, each.source): each for each in of(LineEntry)},
        bodies=bodies_of(of(NumberedEntry)),
        replayed={each.replays: each for each in of(ReplayedEntry)},
    )
    for window in of(WindowEntry):
        span, owner = key_of(window)
        states.windows.setdefault(span, {})[owner] = window
    rolled = None if states.partition is None else states.partition.rolled
    for key in changed_since(states, rolled):
        states.unpublished[size_of(key[0][0])][key] = None
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
