"""The oracle must be able to fail: whatever is lost, doubled or misjudged is drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas.partitioning import partition_of
from tests.faults.account import Account, Expected, Fate, Sums, summed
from tests.faults.oracle import Found, Stored, Verdicts, Window, judge, verdicts_of

PARTITIONS = 4
HOME = partition_of("chat", PARTITIONS)
AWAY = (HOME + 1) % PARTITIONS
GOLD = ("chat", "gold")
ONE = Sums(10, 0, 0, 5, 1, 1)
WINDOW = Window("chat", "gold", 60_000_000, 0)


def account_of(**fates: Fate) -> Account:
    """An account of keys of pool ``chat``, all of them acknowledged."""
    account = Account()
    for key, fate in fates.items():
        account.expect(key, Expected(fate, "chat", "gold", ONE))
        account.acknowledge([key])
    return account


ACCOUNT = account_of(a=Fate.COUNTED, b=Fate.COUNTED, c=Fate.LATE, d=Fate.DEAD)
LOG = [
    Stored(HOME, "a"),
    Stored(HOME, "b"),
    Stored(HOME, "a"),
    Stored(HOME, "c"),
    Stored(HOME, "d"),
]
JUDGED = {HOME: Verdicts(accepted=2, duplicate=1, late=1, dead=1)}
BOTH = {GOLD: ONE.plus(ONE)}
RIGHT = Found(
    ledger=BOTH,
    history=BOTH,
    ledger_verdicts=JUDGED,
    history_verdicts=JUDGED,
    rollups={WINDOW: ONE.plus(ONE)},
    recounted={WINDOW: ONE.plus(ONE)},
)


def test_what_agrees_has_no_drift() -> None:
    judgement = judge(ACCOUNT, LOG, RIGHT, partitions=PARTITIONS)

    assert (judgement.drift, judgement.differences) == (0, [])


@pytest.mark.parametrize(
    ("spoil", "drift"),
    [
        pytest.param(lambda f: replace(f, ledger={GOLD: ONE}), 17, id="the ledger lost an event"),
        pytest.param(lambda f: replace(f, history={GOLD: ONE}), 17, id="a row is missing"),
        pytest.param(
            lambda f: replace(f, history={GOLD: ONE.plus(ONE).plus(ONE)}), 17, id="a row is double"
        ),
        pytest.param(lambda f: replace(f, ledger={}), 34, id="an entitlement is missing"),
        pytest.param(
            lambda f: replace(f, ledger={**BOTH, ("chat", "x"): Sums()}), 1, id="one that is none"
        ),
        pytest.param(
            lambda f: replace(f, ledger_verdicts={HOME: Verdicts(accepted=3, late=1, dead=1)}),
            2,
            id="a duplicate was accepted",
        ),
        pytest.param(lambda f: replace(f, history_verdicts={}), 5, id="nothing is judged"),
        pytest.param(lambda f: replace(f, rollups={WINDOW: ONE}), 17, id="a window is behind"),
        pytest.param(lambda f: replace(f, rollups={}), 34, id="a window is missing"),
    ],
)
def test_every_difference_is_drift(spoil: Callable[[Found], Found], drift: int) -> None:
    judgement = judge(ACCOUNT, LOG, spoil(RIGHT), partitions=PARTITIONS)

    assert judgement.drift == drift
    assert len(judgement.differences) == 1


def test_an_acknowledged_event_that_the_log_lost_is_drift() -> None:
    judgement = judge(ACCOUNT, LOG[:-1], RIGHT, partitions=PARTITIONS)

    assert any("acknowledged" in each for each in judgement.differences)


def test_an_event_that_was_never_sent_is_missed_in_the_sums() -> None:
    account = account_of(a=Fate.COUNTED, b=Fate.COUNTED, c=Fate.LATE, d=Fate.DEAD)
    account.expect("lost", Expected(Fate.COUNTED, "chat", "gold", ONE))

    assert judge(account, LOG, RIGHT, partitions=PARTITIONS).drift == 34


def test_a_misplaced_copy_is_forwarded_and_counts_where_it_arrives() -> None:
    log = [Stored(AWAY, "a"), Stored(AWAY, "c"), Stored(HOME, "a"), Stored(HOME, "c")]

    assert verdicts_of(ACCOUNT, log, partitions=PARTITIONS) == {
        AWAY: Verdicts(forwarded=2),
        HOME: Verdicts(accepted=1, late=1),
    }


def test_a_forward_that_was_repeated_after_a_crash_is_a_duplicate() -> None:
    log = [Stored(AWAY, "a"), Stored(HOME, "a"), Stored(HOME, "a")]

    assert verdicts_of(ACCOUNT, log, partitions=PARTITIONS)[HOME] == Verdicts(
        accepted=1, duplicate=1
    )


def test_what_cannot_be_read_is_dead_wherever_it_is() -> None:
    account = Account()
    account.expect("garbage", Expected(Fate.DEAD))

    assert verdicts_of(account, [Stored(AWAY, "garbage")], partitions=PARTITIONS) == {
        AWAY: Verdicts(dead=1)
    }


def test_only_what_counts_is_in_the_sums() -> None:
    assert summed(ACCOUNT.expected) == BOTH
