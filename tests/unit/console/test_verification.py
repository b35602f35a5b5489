"""Does verification count what is accepted, only that, and see every difference?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pytest

from console.verification.comparison import PartitionLine, Report, lines_of
from console.verification.judgement import Judgement, code_of
from console.verification.raw_log import Scope, Tally
from schemas.positions import Position
from schemas.units import US_PER_MINUTE, TokenCounts
from schemas.verdicts import JudgedThrough, Verdict, VerdictCounts, VerdictKind
from streams.history.queries import Counted
from streams.history.raw_sums import Cut, Key, Version, Window
from tests.integration.history.records import STORED_MS, event, usage_frame, usage_record

KEY: Final[Key] = ("chat", "gold")
EVENT_US: Final = STORED_MS * 1_000
START_US: Final = EVENT_US // US_PER_MINUTE * US_PER_MINUTE


def verdict(offset: int, index: int = 0, *, kind: VerdictKind = VerdictKind.DUPLICATE) -> Verdict:
    return Verdict(position=Position(1, 0, offset, index), verdict=kind)


def mark(offset: int, *, epoch: int = 1, **counts: int) -> JudgedThrough:
    return JudgedThrough(epoch=epoch, partition=0, offset=offset, counts=VerdictCounts(**counts))


def whole(cut: int = 100) -> Judgement:
    judgement = Judgement(epoch=1, wanted=0, whole=True, counts=True)
    judgement.count_through(cut)
    return judgement


def taking(judgement: Judgement, *messages: Verdict | JudgedThrough) -> Judgement:
    for message in messages:
        judgement.take(message)
    return judgement


def codes(*positions: tuple[int, int]) -> list[int]:
    return [code_of(offset, index) for offset, index in positions]


def test_verdicts_bind_once_the_partition_is_judged_past_them() -> None:
    judged = taking(whole(), verdict(3), verdict(1, 2), mark(4), verdict(7))

    assert list(judged.refused) == codes((1, 2), (3, 0))
    assert (judged.through, judged.kinds) == (4, {VerdictKind.DUPLICATE: 2})


def test_a_verdict_that_comes_after_the_judgement_changes_nothing() -> None:
    judged = taking(whole(), mark(4), verdict(3), mark(6))

    assert list(judged.refused) == []


def test_verdicts_that_a_new_owner_repeats_count_once() -> None:
    dead = verdict(1, kind=VerdictKind.DEAD)
    judged = taking(whole(), dead, dead, mark(1), dead, mark(1), verdict(2), mark(2))

    assert list(judged.refused) == codes((1, 0), (2, 0))
    assert judged.kinds == {VerdictKind.DEAD: 1, VerdictKind.DUPLICATE: 1}


def test_marks_and_verdicts_of_another_epoch_are_left_out() -> None:
    other = Verdict(position=Position(2, 0, 1), verdict=VerdictKind.LATE)
    judged = taking(whole(), other, mark(9, epoch=2), mark(3))

    assert (list(judged.refused), judged.through) == ([], 3)


def test_kinds_are_counted_through_the_cut_only() -> None:
    judged = taking(whole(cut=2), verdict(2), verdict(3), mark(5))

    assert judged.kinds == {VerdictKind.DUPLICATE: 1}
    assert list(judged.refused) == codes((2, 0), (3, 0))


def test_where_the_beginning_is_gone_counting_starts_at_the_first_mark_past_it() -> None:
    judged = Judgement(epoch=1, wanted=10, whole=False, counts=True)
    judged.count_through(100)
    base = mark(12, accepted=11, duplicate=2)
    taking(judged, verdict(5), mark(6, accepted=7), verdict(11), base, verdict(14), mark(15))

    assert (judged.start, judged.base) == (13, base.counts)
    assert list(judged.refused) == codes((14, 0))


def test_without_counts_any_mark_says_from_where_verdicts_are_complete() -> None:
    judged = Judgement(epoch=1, wanted=10, whole=False, counts=False)
    taking(judged, mark(6), verdict(11), mark(12))

    assert judged.start == 10
    assert list(judged.refused) == codes((11, 0))


def tallied(scope: Scope, judgement: Judgement) -> Tally:
    """Offsets 0, 1 and a frame of two at 2; each event has 10 input and 1 output tokens."""
    tally = Tally(scope, judgement)
    for record in (
        usage_record(0, event(0)),
        usage_record(1, event(1)),
        usage_frame(2, [event(2), event(3)]),
    ):
        tally.take(record)
    return tally


def counted(events: int) -> Counted:
    tokens = TokenCounts(input_tokens=10 * events, output_tokens=events)
    return Counted(tokens=tokens, events=events)


def test_accepted_events_are_summed_and_refused_ones_left_out() -> None:
    judged = taking(whole(), verdict(1), verdict(2, 1), mark(2))
    tally = tallied(Scope(partition=0, cut=Cut(1, 2), epoch=1), judged)

    assert (tally.events, tally.sums()) == (4, {KEY: counted(2)})


def test_what_lies_beyond_the_cut_is_not_counted() -> None:
    tally = tallied(Scope(partition=0, cut=Cut(1, 1), epoch=1), taking(whole(), mark(2)))

    assert (tally.events, tally.sums()) == (2, {KEY: counted(2)})


@pytest.mark.parametrize(
    ("interval", "events"),
    [
        pytest.param((START_US, START_US + US_PER_MINUTE), 4, id="the minute of the events"),
        pytest.param((START_US - US_PER_MINUTE, START_US), 0, id="the minute before"),
        pytest.param(
            (START_US + US_PER_MINUTE, START_US + 2 * US_PER_MINUTE), 0, id="the minute after"
        ),
    ],
)
def test_a_window_counts_by_event_time(interval: tuple[int, int], events: int) -> None:
    scope = Scope(partition=0, cut=Cut(1, 2), epoch=1, interval=interval)

    assert tallied(scope, taking(whole(), mark(2))).sums() == (
        {KEY: counted(events)} if events else {}
    )


def test_a_minute_that_includes_more_counts_through_its_version() -> None:
    scope = Scope(
        partition=0,
        cut=Cut(1, 0),
        epoch=1,
        interval=(START_US, START_US + US_PER_MINUTE),
        later={Window(*KEY, START_US): Version(1, 2, 0)},
    )

    assert scope.end == 3
    assert tallied(scope, taking(whole(), mark(2))).sums() == {KEY: counted(3)}


def test_another_pool_is_not_counted() -> None:
    scope = Scope(partition=0, cut=Cut(1, 2), epoch=1, pool="other")

    assert tallied(scope, taking(whole(), mark(2))).sums() == {}


@dataclass(frozen=True)
class Three:
    """What each reader counted of one entitlement, in events of 11 tokens."""

    kafka: int
    ledger: int
    clickhouse: int
    in_range: int
    complete: bool = True

    def report(self) -> Report:
        lines = lines_of(
            kafka={KEY: counted(self.kafka)},
            ledger={KEY: counted(self.ledger)},
            clickhouse={KEY: counted(self.clickhouse)},
            in_range={KEY: counted(self.in_range)},
            complete={0: self.complete},
            partitions=1,
        )
        return Report(lines=lines)


def test_equal_counts_have_no_drift_and_one_line_says_so() -> None:
    report = Three(3, 3, 3, 3).report()

    assert report.line() == "verify: kafka=33 ledger=33 clickhouse=33 drift=0"


@pytest.mark.parametrize(
    "three",
    [
        pytest.param(Three(2, 3, 3, 3), id="kafka lacks one"),
        pytest.param(Three(3, 2, 3, 3), id="the ledger lacks one"),
        pytest.param(Three(3, 3, 2, 2), id="ClickHouse lacks one"),
        pytest.param(Three(1, 3, 3, 2, complete=False), id="in what Kafka still has"),
    ],
)
def test_one_event_that_somebody_lacks_is_drift_in_tokens_and_events(three: Three) -> None:
    assert three.report().drift == 11 + 1


def test_what_kafka_no_longer_has_is_no_drift() -> None:
    assert Three(1, 3, 3, 1, complete=False).report().drift == 0


def test_an_entitlement_that_one_reader_lacks_is_drift() -> None:
    lines = lines_of(
        kafka={}, ledger={KEY: counted(1)}, clickhouse={}, in_range={}, complete={}, partitions=1
    )

    assert Report(lines=lines).drift == 12


def test_differences_of_two_token_classes_do_not_cancel_out() -> None:
    ledger = Counted(tokens=TokenCounts(input_tokens=9, output_tokens=2), events=1)
    lines = lines_of(
        kafka={KEY: counted(1)},
        ledger={KEY: ledger},
        clickhouse={KEY: counted(1)},
        in_range={KEY: counted(1)},
        complete={0: True},
        partitions=1,
    )

    assert Report(lines=lines).drift == 2


def partition_line(events: int, kafka: VerdictCounts, ledger: VerdictCounts) -> PartitionLine:
    return PartitionLine(
        partition=0, start=0, cut=9, complete=True, events=events, kafka=kafka, ledger=ledger
    )


def test_a_partition_agrees_when_its_verdicts_add_up_to_what_was_read() -> None:
    counts = VerdictCounts(accepted=5, duplicate=2, late=1, dead=1, forwarded=1)

    assert partition_line(10, counts, counts).drift == 0


def test_events_that_have_no_verdict_or_another_one_are_drift() -> None:
    counts = VerdictCounts(accepted=5, duplicate=2)

    assert partition_line(8, VerdictCounts(accepted=6, duplicate=2), counts).drift == 1
    assert partition_line(7, VerdictCounts(accepted=6, duplicate=1), counts).drift == 2
