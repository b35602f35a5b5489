"""Followed: a share counts until the admitter has reported a state that replaced it."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.ledger import ShareRecord
from schemas.positions import Version
from schemas.state import Share
from schemas.units import NOTHING, Resources
from streams.core.followed import (
    RECORDS_MAX,
    Key,
    followed,
    newest,
    published,
    widest,
)

KEY: Key = ("e", "a-1")


def version(tick: int) -> Version:
    """Return a version of the first epoch."""
    return Version(1, 1, tick)


def in_force(chain: Sequence[ShareRecord], applied: Version) -> Resources:
    """Return what was usable in the state that the admitter reported: the oldest record kept."""
    assert chain[0].version <= applied

    return chain[0].floor.at_least(chain[0].grant)


def slots(amount: int) -> Resources:
    """Return so many slots."""
    return Resources(slots=amount)


def history(*grants: tuple[int, int]) -> tuple[ShareRecord, ...]:
    """Return the records after publishing grants (tick, slots) that were never acknowledged."""
    records: tuple[ShareRecord, ...] = ()
    for tick, amount in grants:
        chains = followed(records, {"a-1": Version()})
        share = Share(admitter="a-1", grant=slots(amount))
        records = published(chains, {KEY: share}, version(tick))
    return records


def test_until_it_is_acknowledged_every_share_counts() -> None:
    chains = followed(history((1, 5), (2, 9), (3, 2)), {"a-1": version(1)})

    assert widest(chains[KEY]) == (NOTHING, slots(9))
    assert newest(chains[KEY]) == (NOTHING, slots(2))
    assert in_force(chains[KEY], version(1)) == slots(5)


def test_an_acknowledged_state_drops_what_it_replaced() -> None:
    chains = followed(history((1, 5), (2, 9), (3, 2)), {"a-1": version(3)})

    assert widest(chains[KEY]) == (NOTHING, slots(2))


def test_a_share_stays_in_force_over_states_that_did_not_change_it() -> None:
    chains = followed(history((1, 5), (4, 2)), {"a-1": version(3)})

    assert in_force(chains[KEY], version(3)) == slots(5)
    assert widest(chains[KEY]) == (NOTHING, slots(5))


def test_a_share_that_was_cut_to_nothing_is_forgotten_once_acknowledged() -> None:
    records = history((1, 5), (2, 0))

    assert KEY in followed(records, {"a-1": version(1)})
    assert followed(records, {"a-1": version(2)}) == {}


def test_the_dead_follow_nothing() -> None:
    assert followed(history((1, 5)), {"b-1": version(1)}) == {}


def test_an_unchanged_share_adds_no_record() -> None:
    assert history((1, 5), (2, 5)) == history((1, 5))


def test_a_new_epoch_is_above_every_tick_of_the_last() -> None:
    records = (
        ShareRecord(entitlement="e", admitter="a-1", version=Version(1, 1, 900), grant=slots(9)),
        ShareRecord(entitlement="e", admitter="a-1", version=Version(2, 2, 901), grant=slots(1)),
    )

    assert widest(followed(records, {"a-1": Version(1, 1, 999)})[KEY])[1] == slots(9)
    assert widest(followed(records, {"a-1": Version(2, 2, 901)})[KEY])[1] == slots(1)


def test_the_oldest_records_become_their_maximum_when_there_are_too_many() -> None:
    records = history(*((tick, 100 - tick) for tick in range(1, 40)))

    assert len(records) == RECORDS_MAX
    assert widest(records) == (NOTHING, slots(99))
    assert newest(records) == (NOTHING, slots(61))
