"""Restoring a partition: which of several generations' records is true."""

from __future__ import annotations

from schemas.ledger import LedgerEntry, TickRecord
from schemas.partitioning import partition_of
from schemas.positions import Version
from schemas.wire import encode
from streams.core.ledger import fold
from streams.core.outcome import States, apply
from streams.core.restore import (
    StoredKey,
    base_of,
    latest_ticks,
    restore,
    stored_key,
)
from tests.unit.streams.builders import (
    HOME,
    PARTITIONS,
    PLACE,
    SPECS,
    folded,
    record,
    records,
    total,
    usage,
)


def _stored(entry: LedgerEntry, generation: int) -> tuple[bytes, bytes]:
    return bytes(StoredKey(base_of(entry), generation)), encode(entry)


def test_what_was_written_restores_to_the_same_states() -> None:
    states = States()
    log: list[tuple[bytes, bytes]] = []
    for batch in ([record(usage(1), 0)], [record(usage(2), 1), record(usage(1), 2)]):
        outcome = fold(states, batch, specs=SPECS, place=PLACE)
        apply(states, outcome)
        log += [_stored(entry, 7) for entry in outcome.entries]

    restored = restore(dict(log).items())

    assert restored.states == states
    assert restored.superseded == ()
    assert set(restored.generations.values()) == {7}


def test_a_zombie_that_wrote_last_loses_by_position() -> None:
    zombie = fold(States(), records(usage(1)), specs=SPECS, place=PLACE)
    owner = fold(States(), records(usage(1), usage(2)), specs=SPECS, place=PLACE)
    log = [_stored(entry, 4) for entry in owner.entries]
    log += [_stored(entry, 3) for entry in zombie.entries]

    restored = restore(log)

    assert total(restored.states).total == 10
    assert set(restored.superseded) == {_stored(entry, 3)[0] for entry in zombie.entries}


def test_of_equal_positions_the_higher_generation_is_kept() -> None:
    outcome = fold(States(), records(usage(1)), specs=SPECS, place=PLACE)
    log = [_stored(entry, generation) for generation in (9, 10) for entry in outcome.entries]

    restored = restore(log)

    assert set(restored.generations.values()) == {10}
    assert all(stored_key(key).generation == 9 for key in restored.superseded)


def test_every_key_names_the_partition_that_it_belongs_to() -> None:
    states = folded(records(usage(1)))
    outcome = fold(states, [record(usage(2), 1)], specs=SPECS, place=PLACE)

    partitions = {_partition_of(base_of(entry)) for entry in outcome.entries}

    assert partitions == {HOME}


def test_of_a_pools_tick_records_the_highest_version_wins() -> None:
    older = TickRecord(pool="alpha", version=Version(3, 3, 90), at_us=1)
    newer = TickRecord(pool="alpha", version=Version(4, 4, 1), at_us=2)

    latest = latest_ticks({b"alpha|4": encode(newer), b"alpha|3": encode(older)})

    assert latest == {"alpha": (newer, 4)}


def _partition_of(base: bytes) -> int:
    """Return the partition that a key of ``consumption`` belongs to."""
    kind, first, *_ = base.split(b"|")
    return (
        partition_of(first.decode(), PARTITIONS) if kind in (b"t", b"m", b"h", b"s") else int(first)
    )
