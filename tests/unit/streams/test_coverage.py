"""A ledger that lost what was committed is refused, and rebuilt only where that is exact."""

from __future__ import annotations

from typing import Any

import pytest

from streams.coverage import LedgerLostError, Partition, check


def _partition(**changes: int) -> Partition:
    facts: dict[str, Any] = {
        "number": 3,
        "through": 99,
        "committed": 100,
        "usage_begin": 0,
        "verdicts_begin": 0,
        "verdicts_wanted": 0,
    }
    return Partition(**{**facts, **changes})


def _check(partition: Partition, *, rebuild: bool = False) -> None:
    check(partition, topic="p-usage", group="p-streams", rebuild=rebuild)


@pytest.mark.parametrize(
    "partition",
    [
        pytest.param(_partition(), id="it stands where was committed"),
        pytest.param(_partition(committed=40), id="the commit lags"),
        pytest.param(_partition(through=-1, committed=0), id="a fresh system"),
        pytest.param(_partition(usage_begin=100), id="retention took what was read"),
        pytest.param(_partition(usage_begin=180), id="retention took more than was read"),
        pytest.param(
            _partition(verdicts_begin=50, verdicts_wanted=20), id="retention took verdicts"
        ),
    ],
)
def test_a_ledger_that_holds_what_was_committed_may_start(partition: Partition) -> None:
    _check(partition)


@pytest.mark.parametrize(
    ("partition", "stands"),
    [
        pytest.param(_partition(through=-1), "empty", id="the changelog was deleted"),
        pytest.param(_partition(through=98), "at offset 98", id="its end was cut off"),
    ],
)
def test_a_ledger_before_the_committed_offset_is_refused_and_the_way_out_named(
    partition: Partition, stands: str
) -> None:
    with pytest.raises(
        LedgerLostError,
        match=f"p-usage partition 3 is {stands}, .* p-streams has committed offset 100.*"
        "TOKENPOOLS_REBUILD_LEDGER=1",
    ):
        _check(partition)

    _check(partition, rebuild=True)


@pytest.mark.parametrize(
    "partition",
    [
        pytest.param(_partition(through=-1, usage_begin=1), id="usage has lost its beginning"),
        pytest.param(_partition(through=-1, verdicts_begin=1), id="verdicts has"),
        pytest.param(
            _partition(through=49, usage_begin=51), id="usage has a hole after the ledger"
        ),
        pytest.param(
            _partition(through=49, verdicts_begin=8, verdicts_wanted=7), id="verdicts has a hole"
        ),
    ],
)
def test_a_ledger_that_would_come_out_smaller_is_never_rebuilt(partition: Partition) -> None:
    for rebuild in (False, True):
        with pytest.raises(LedgerLostError, match="cannot be made anew"):
            _check(partition, rebuild=rebuild)


@pytest.mark.parametrize(
    ("begin", "lost"),
    [
        pytest.param(100, 0, id="the next offset is there"),
        pytest.param(107, 7, id="seven offsets are gone"),
    ],
)
def test_what_retention_took_unread_is_counted(begin: int, lost: int) -> None:
    assert _partition(usage_begin=begin).lost_offsets == lost
