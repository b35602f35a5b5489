"""What a mirror promises: every record through ``through`` is in, and nothing is in twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from streams.mirror import ChangelogHoleError, Mirror


@dataclass(frozen=True)
class Stored:
    """A changelog record."""

    offset: int
    key: bytes | None
    value: bytes | None


def stored(first: int, *values: tuple[bytes, bytes | None]) -> Sequence[Stored]:
    """Return records at consecutive offsets."""
    return [Stored(first + index, key, value) for index, (key, value) in enumerate(values)]


def assigned() -> Mirror:
    """Return a mirror with partition 1, which recovery reads from its start."""
    mirror = Mirror("consumption")
    assert mirror.assign(1) is None
    return mirror


def test_recovery_goes_on_after_what_was_read_and_tombstones_remove() -> None:
    mirror = assigned()
    mirror.read(1, stored(0, (b"a", b"1"), (b"b", b"2")), before=-1)
    mirror.read(1, stored(2, (b"a", None), (b"c", b"3")), before=1)

    assert mirror.contents(1) == {b"b": b"2", b"c": b"3"}
    assert mirror.assign(1) == 3


def test_what_was_read_before_is_skipped_when_it_is_read_again() -> None:
    mirror = assigned()
    mirror.read(1, stored(0, (b"a", b"old"), (b"a", b"new")), before=-1)
    mirror.read(1, stored(0, (b"a", b"old"), (b"a", b"new"), (b"b", b"1")), before=-1)

    assert mirror.contents(1) == {b"a": b"new", b"b": b"1"}


def test_gaps_that_compaction_left_are_no_holes() -> None:
    mirror = assigned()
    mirror.read(1, stored(40, (b"a", b"1")), before=38)
    mirror.read(1, stored(90, (b"b", b"2")), before=40)

    assert mirror.assign(1) == 90


def test_records_that_were_lost_on_the_way_end_the_process() -> None:
    mirror = assigned()
    mirror.read(1, stored(0, (b"a", b"1")), before=-1)

    with pytest.raises(ChangelogHoleError, match="read through 0, but the next records follow 7"):
        mirror.read(1, stored(8, (b"b", b"2")), before=7)


def test_own_writes_in_order_need_not_be_read_again() -> None:
    mirror = assigned()
    mirror.write(1, [(b"a", b"1"), (b"b", b"2")], 0)
    mirror.write(1, [(b"a", None)], 2)

    assert mirror.contents(1) == {b"b": b"2"}
    assert mirror.assign(1) == 2


def test_own_writes_behind_another_workers_are_read_again() -> None:
    mirror = assigned()
    mirror.write(1, [(b"a", b"1")], 0)
    mirror.write(1, [(b"a", b"mine, late")], 5)

    assert mirror.assign(1) == 0, "offsets 1 to 4 are not known"
    mirror.read(1, stored(1, *[(b"b", b"theirs")] * 4, (b"a", b"mine, late")), before=0)
    assert mirror.contents(1) == {b"a": b"mine, late", b"b": b"theirs"}


def test_an_own_write_that_was_read_meanwhile_undoes_nothing() -> None:
    mirror = assigned()
    mirror.read(1, stored(0, (b"a", b"mine"), (b"a", None)), before=-1)
    mirror.write(1, [(b"a", b"mine")], 0)

    assert mirror.contents(1) == {}


def test_a_standby_that_becomes_the_owner_goes_on_where_it_stood() -> None:
    mirror = assigned()
    mirror.read(1, stored(0, (b"a", b"1")), before=-1)
    mirror.keep(owned=[], standby=[1])
    mirror.read(1, stored(1, (b"a", b"2")), before=0)

    assert mirror.assign(1) == 1
    mirror.keep(owned=[1], standby=[])
    assert mirror.contents(1) == {b"a": b"2"}


def test_a_former_owner_gives_the_memory_back_and_begins_anew_when_asked_again() -> None:
    mirror = assigned()
    mirror.read(1, stored(0, (b"a", b"1")), before=-1)

    mirror.keep(owned=[2], standby=[3])

    assert mirror.contents(1) == {}
    mirror.read(1, stored(1, (b"b", b"late")), before=0)
    mirror.write(1, [(b"c", b"late")], 2)
    assert mirror.contents(1) == {}, "what arrives late is nobody's"
    assert mirror.assign(1) is None
