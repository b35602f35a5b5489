"""The mill draws every kind of event, and the log can be read back into its account."""

from __future__ import annotations

import random

from schemas.errors import MalformedEventError
from schemas.partitioning import partition_of
from schemas.usage import UsageEvent, decode_record
from tests.faults.account import TAG_HEADER, Account, Fate, summed
from tests.faults.logged import events_of
from tests.faults.mill import IDLE_POOL, KINDS, Mill, Parcel
from tests.faults.oracle import verdicts_of

NOW_US = 1_790_000_000_000_000
PARTITIONS = 4
RECORDS = 600


def milled(seed: int = 1) -> tuple[Account, list[Parcel]]:
    """An account and the records of it, in the order in which they are sent."""
    account = Account()
    waves = Mill(random.Random(seed), account).burst(RECORDS, now_us=NOW_US)
    return account, [parcel for wave in waves for parcel in wave]


def test_the_same_seed_gives_the_same_records() -> None:
    assert milled(7) == milled(7)
    assert milled(7)[1] != milled(8)[1]


def test_every_record_reads_back_as_the_keys_that_it_was_sent_with() -> None:
    account, parcels = milled()

    read = [[each.key for each in events_of(0, one.value, one.headers)] for one in parcels]

    assert read == [list(one.keys) for one in parcels]
    assert {key for keys in read for key in keys} == set(account.expected)


def test_production_reads_as_many_events_and_finds_malformed_what_is_tagged_garbage() -> None:
    _, parcels = milled()

    for parcel in parcels:
        events = decode_record(parcel.value, parcel.headers)
        is_garbage = parcel.keys[0].startswith("garbage")
        assert len(events) == len(parcel.keys)
        assert all(isinstance(each, MalformedEventError) == is_garbage for each in events)


def test_every_fate_and_every_shape_is_drawn() -> None:
    account, parcels = milled()
    fates = {each.fate for each in account.expected.values()}

    assert fates == set(Fate)
    assert any(len(one.keys) > 1 and one.value and one.value.startswith(b"[") for one in parcels)
    assert any(len(one.keys) > 1 and one.value and one.value.startswith(b"{") for one in parcels)
    assert any(one.misplaced for one in parcels)
    assert any(one.foreign for one in parcels)
    assert any(("ce_specversion", b"1.0") in one.headers for one in parcels)
    assert len(parcels) > len({id(one) for one in parcels})
    assert any(one.keys[0].startswith("conflict") for one in parcels)


def test_a_conflict_is_sent_after_its_original_is_acknowledged() -> None:
    mill = Mill(random.Random(3), Account())
    first, second = mill.burst(RECORDS, now_us=NOW_US)
    originals = {parcel.keys[0] for parcel in first}

    assert all(parcel.keys[0].startswith("conflict") for parcel in second)
    for parcel in second:
        (event,) = decode_record(parcel.value, parcel.headers)
        assert isinstance(event, UsageEvent)
        assert f"{event.source} {event.id}" in originals


def test_a_late_event_is_beyond_the_horizon_of_its_pool() -> None:
    mill = Mill(random.Random(5), Account())
    (parcel,) = mill.too_late(NOW_US)
    (event,) = decode_record(parcel.value, parcel.headers)

    assert isinstance(event, UsageEvent)
    assert event.event_us < NOW_US - 86_400_000_000


def test_an_idle_pool_gets_nothing_by_chance() -> None:
    account, _ = milled()

    assert IDLE_POOL not in {each.pool for each in account.expected.values()}


def test_the_events_of_a_log_are_the_accepted_ones_of_the_account() -> None:
    account, parcels = milled()
    log = [
        each
        for one in parcels
        for each in events_of(partition_of(one.pool, PARTITIONS), one.value, one.headers)
    ]
    verdicts = verdicts_of(account, log, partitions=PARTITIONS)

    assert sum(sum(each) for each in verdicts.values()) == len(log)
    in_pool = [
        each
        for one in parcels
        if len(one.keys) == 1 or len({account.expected[key].pool for key in one.keys}) == 1
        for each in one.keys
    ]
    counted = {key for key in in_pool if account.expected[key].fate is Fate.COUNTED}
    assert sum(each.accepted for each in verdicts.values()) >= len(counted)
    assert sum(sums.events for sums in summed(account.expected).values()) >= len(counted)


def test_kinds_have_names_of_their_own() -> None:
    assert len({name for name, _ in KINDS}) == len(KINDS)
    assert TAG_HEADER not in {"content-type", "tokenpools-forwarded"}
