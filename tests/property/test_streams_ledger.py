"""Laws of the fold: replay, batch boundaries, duplicates and counts."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.rollups import Rollup
from schemas.units import US_PER_S
from schemas.usage import UsageEvent
from schemas.verdicts import Verdict
from schemas.wire import encode
from streams.core.judge import StoredRecord
from streams.core.ledger import fold, rest
from streams.core.outcome import Outcome, States, apply, key_of
from tests.unit.streams.builders import NOW_US, PLACE, SPECS, record, total, usage

Content = UsageEvent | list[UsageEvent] | bytes | None

events = st.builds(
    usage,
    st.integers(0, 12),
    output=st.integers(0, 3),
    entitlement=st.sampled_from(["e0", "e1", "nobody"]),
    pool=st.sampled_from(["alpha", "alpha", "beta", "gamma"]),
    event_us=st.integers(-100_000, 400).map(lambda seconds: NOW_US + seconds * US_PER_S),
    final=st.booleans(),
    numbered=st.booleans(),
)
contents = st.one_of(
    events, events, st.lists(events, min_size=1, max_size=4), st.sampled_from([None, b"", b"{}"])
)


@st.composite
def logs(draw: st.DrawFn) -> list[StoredRecord]:
    """A partition's log: rising offsets with gaps, broker times that do not go back."""
    offset, stored_us = 0, NOW_US
    log = []
    for content in draw(st.lists(contents, max_size=30)):
        offset += draw(st.integers(1, 3))
        stored_us += draw(st.integers(0, 90)) * US_PER_S
        log.append(record(content, offset, stored_us=stored_us))
    return log


def _fold_in(states: States, batch: list[StoredRecord]) -> Outcome:
    outcome = fold(states, batch, specs=SPECS, place=PLACE)
    apply(states, outcome)
    return outcome


def _bytes(states: States) -> dict[str, bytes]:
    """The ledger as it is written, but for blocks and publications, which follow the batches."""
    written = {f"t {key}": encode(entry) for key, entry in states.totals.items()}
    written |= {f"w {key_of(entry)}": encode(entry) for entry in states.all_windows()}
    written |= {f"q {key}": encode(entry) for key, entry in states.lines.items()}
    written |= {f"r {key}": encode(entry) for key, entry in states.replayed.items()}
    if states.partition is not None:
        written["p"] = encode(msgspec.structs.replace(states.partition, rolled=None))
    return written


def _split(log: list[StoredRecord], cuts: list[int]) -> list[list[StoredRecord]]:
    bounds = sorted({0, len(log), *(cut % (len(log) + 1) for cut in cuts)})
    return [log[start:end] for start, end in pairwise(bounds)]


@given(log=logs())
def test_folding_twice_equals_folding_once(log: list[StoredRecord]) -> None:
    states = States()
    _fold_in(states, log)
    once = _bytes(states)

    again = _fold_in(states, log)

    assert again.partition is None
    assert _bytes(states) == once


@given(log=logs(), cuts=st.lists(st.integers(0, 100), max_size=6))
def test_any_batch_boundaries_give_the_same_ledger_bytes(
    log: list[StoredRecord], cuts: list[int]
) -> None:
    whole, parts = States(), States()
    outcome = _fold_in(whole, log)
    outcomes = [_fold_in(parts, part) for part in _split(log, cuts)]

    assert _bytes(parts) == _bytes(whole)
    assert dict(parts.marks.remembered()) == dict(whole.marks.remembered())
    assert parts.bodies.by_line == whole.bodies.by_line
    assert [verdict for each in outcomes for verdict in each.verdicts] == list(outcome.verdicts)


@given(log=logs(), cuts=st.lists(st.integers(0, 100), max_size=6), back=st.integers(0, 30))
def test_reading_again_from_an_earlier_offset_changes_nothing(
    log: list[StoredRecord], cuts: list[int], back: int
) -> None:
    plain, crashed = States(), States()
    _fold_in(plain, log)
    done = 0
    for part in _split(log, cuts):
        _fold_in(crashed, log[max(0, done - back) : done + len(part)])
        done += len(part)

    assert _bytes(crashed) == _bytes(plain)


@given(log=logs())
def test_the_verdicts_add_up_to_the_events_read(log: list[StoredRecord]) -> None:
    outcome = fold(States(), log, specs=SPECS, place=PLACE)

    events = sum(value.count(b'"specversion"') or 1 for value in _values(log))
    assert outcome.counts.read == events
    assert len(outcome.verdicts) == events - outcome.counts.accepted


def _values(log: list[StoredRecord]) -> list[bytes]:
    return [each.value or b"" for each in log]


@given(
    numbers=st.lists(st.integers(0, 50), unique=True, max_size=20),
    seed=st.randoms(use_true_random=False),
    copies=st.integers(2, 4),
)
def test_shuffled_duplicates_count_once(numbers: list[int], seed: Random, copies: int) -> None:
    sent = [usage(number, output=number) for number in numbers] * copies
    seed.shuffle(sent)

    states = States()
    _fold_in(states, [record(event, offset) for offset, event in enumerate(sent)])

    assert total(states).total == sum(numbers)


JUDGED_HEADER = ("tokenpools-nothing", b"")
"""Sends every event to the judge and means nothing."""


@given(log=logs(), cuts=st.lists(st.integers(0, 100), max_size=6))
def test_the_tight_loop_counts_what_the_judge_would_have_accepted(
    log: list[StoredRecord], cuts: list[int]
) -> None:
    slow = [each._replace(headers=(*each.headers, JUDGED_HEADER)) for each in log]
    quick, judged = States(), States()
    outcomes = [_fold_in(quick, part) for part in _split(log, cuts)]
    rulings = [_fold_in(judged, part) for part in _split(slow, cuts)]

    assert _bytes(quick) == _bytes(judged)
    assert dict(quick.marks.remembered()) == dict(judged.marks.remembered())
    assert quick.bodies.by_line == judged.bodies.by_line
    assert [_ruling(v) for each in outcomes for v in each.verdicts] == [
        _ruling(v) for each in rulings for v in each.verdicts
    ]
    assert [each.increments for each in outcomes] == [each.increments for each in rulings]


def _ruling(verdict: Verdict) -> Verdict:
    """The verdict without the headers that differ."""
    return msgspec.structs.replace(verdict, original_headers=())


@given(log=logs(), cuts=st.lists(st.integers(0, 100), max_size=6))
def test_the_totals_are_the_sum_of_the_windows_ever_published(
    log: list[StoredRecord], cuts: list[int]
) -> None:
    """Minutes that an order sends to history are left out: history counts those."""
    states, published, ordered = States(), dict[object, Rollup](), set[object]()
    outcomes = [_fold_in(states, part) for part in _split(log, cuts)]
    for rollup in [each for outcome in (*outcomes, rest(states)) for each in outcome.rollups]:
        key = (rollup.pool, rollup.entitlement, rollup.window_us, rollup.window_start_us)
        if rollup.order:
            ordered.add(key)
        else:
            assert key not in ordered
            assert key not in published or published[key].version < rollup.version
            published[key] = rollup

    for size_us in (US_PER_S, 60 * US_PER_S, 3_600 * US_PER_S):
        if not any(key[2] == size_us for key in ordered):  # type: ignore[index]  # a tuple
            windows = [each for each in published.values() if each.window_us == size_us]
            assert sum(each.tokens.total for each in windows) == total(states).total
