"""Whole record batches without a broker: what a fetched partition's bytes may hold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams.fetching import (
    FRESH_S_MAX,
    LIVE_MS,
    MUCH_BYTES,
    STALE_S,
    TESTED_VERSIONS,
    Fetched,
    can_take_whole_batches,
    take,
    up_to_date,
    whole_batches,
)

TP = TopicPartition("usage", 0)
BASE_OFFSET_BYTES = 8


@dataclass
class State:
    """aiokafka's state of an assigned partition, as far as a fetch needs it."""

    position: int
    paused: bool = False

    def consumed_to(self, position: int) -> None:
        """Move on."""
        self.position = position


@dataclass
class Assignment:
    """aiokafka's assignment of the one partition."""

    state: State
    active: bool = True

    def state_value(self, _tp: TopicPartition) -> State:
        """Return the partition's state."""
        return self.state


@dataclass
class Subscriptions:
    """aiokafka's subscription state while nothing changes."""

    reassignment_in_progress: bool = False

    def is_assigned(self, _tp: TopicPartition) -> bool:
        """Say that the partition is assigned."""
        return True


@dataclass
class Fetcher:
    """aiokafka's fetcher with what it has fetched."""

    _records: dict[TopicPartition, Any]
    _subscriptions: Subscriptions = field(default_factory=Subscriptions)
    _wait_consume_future: None = None
    _prefetch_backoff: float = 0.1

    def _notify(self, _future: None) -> None:
        """Begin the next fetch."""


def batch_bytes(first: int, offsets: Sequence[int], *, size: int = 10) -> bytes:
    """Return a record batch as a broker stores it; ``offsets`` may have holes."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    for offset in offsets:
        builder.append(offset - first, 1_000, b"k", b"v" * size, [])
    stored = bytes(builder.build())
    return first.to_bytes(BASE_OFFSET_BYTES, "big") + stored[BASE_OFFSET_BYTES:]


def fetched(stored: bytes, *, position: int = 0) -> FetchResult:
    """Return what a fetch from ``position`` brought."""
    records = PartitionRecords(
        TP, MemoryRecords(stored), [], position, None, None, True, READ_UNCOMMITTED
    )
    assignment = Assignment(State(position))
    return FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)


def offsets_of(records: Sequence[Any]) -> list[int]:
    """Return the offsets."""
    return [record.offset for record in records]


@pytest.mark.parametrize(
    ("stored", "position", "expected"),
    [
        pytest.param(batch_bytes(0, [0, 1, 2]), 0, [0, 1, 2], id="whole"),
        pytest.param(batch_bytes(0, [0, 1, 2]), 2, [2], id="from the middle"),
        pytest.param(batch_bytes(10, [12, 15]), 5, [12, 15], id="with holes"),
        pytest.param(
            batch_bytes(0, [0, 1]) + batch_bytes(2, [2, 3])[:-5], 0, [0, 1], id="cut off at its end"
        ),
    ],
)
def test_the_records_are_those_of_the_ordinary_path(
    stored: bytes, position: int, expected: list[int]
) -> None:
    ordinary, whole = fetched(stored, position=position), fetched(stored, position=position)

    records, size_bytes = take(whole, bytes_max=1_000)

    assert offsets_of(records) == offsets_of(ordinary.getall()) == expected
    assert whole._assignment.state.position == ordinary._assignment.state.position
    assert size_bytes == 10 * len(records)
    assert not whole.has_more()


def test_it_ends_after_the_batch_by_which_there_is_enough() -> None:
    result = fetched(b"".join(batch_bytes(first, [first, first + 1]) for first in (0, 2, 4)))

    taken = [offsets_of(take(result, bytes_max=size)[0]) for size in (1, 21)]

    assert taken == [[0, 1], [2, 3, 4, 5]]


def test_what_a_seek_overtook_is_dropped() -> None:
    result = fetched(batch_bytes(0, [0, 1]))
    result._assignment.state.position = 7

    records = take(result, bytes_max=1_000).records

    assert records == []
    assert not result.has_more()


async def test_a_damaged_batch_is_an_error_and_the_position_stays_before_it() -> None:
    damaged = bytearray(batch_bytes(2, [2, 3]))
    damaged[-1] ^= 1
    result = fetched(batch_bytes(0, [0, 1]) + bytes(damaged))
    fetcher = Fetcher({TP: result})

    first = await whole_batches(fetcher, [TP], timeout_s=0, bytes_max=1)
    with pytest.raises(CorruptRecordException):
        await whole_batches(fetcher, [TP], timeout_s=0, bytes_max=1)

    assert offsets_of(first[TP].records) == [0, 1]
    assert result._assignment.state.position == 2
    assert fetcher._records == {}


def test_a_version_that_was_not_tested_takes_the_ordinary_path_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not can_take_whole_batches("99.1")
        assert can_take_whole_batches(TESTED_VERSIONS[-1])

    (message,) = (record.getMessage() for record in caplog.records)
    assert "aiokafka=99.1" in message


class Polls:
    """Polls that bring one thing after the other, and how long each would have waited."""

    def __init__(self, *answers: dict[Any, Fetched] | KafkaError) -> None:
        self._answers = list(answers)
        self.timeouts_s: list[float | None] = []

    async def __call__(self, timeout_s: float | None) -> dict[Any, Fetched]:
        self.timeouts_s.append(timeout_s)
        answer = self._answers.pop(0)
        if isinstance(answer, KafkaError):
            raise answer
        return answer


class Stored(NamedTuple):
    """A record as far as a poll looks at it."""

    name: str
    timestamp: int


OTHER = TopicPartition("usage", 1)
NOW_MS = 1_790_000_000_000
A, B, C, D = (Stored(name, NOW_MS - 500) for name in "abcd")
BUSY = Fetched([A, B], MUCH_BYTES)
BYTES_MAX = 64 * MUCH_BYTES


async def polled(polls: Polls, *, lay_s: float = 2 * STALE_S, now_ms: int = NOW_MS) -> Any:
    return await up_to_date(polls, timeout_s=1.0, lay_s=lay_s, now_ms=now_ms, bytes_max=BYTES_MAX)


async def test_what_lay_ready_for_long_is_followed_by_what_the_broker_has_by_now() -> None:
    polls = Polls({TP: BUSY}, {TP: Fetched([C], 3), OTHER: Fetched([D], 5)})

    fetched = await polled(polls)

    assert fetched == {TP: Fetched([A, B, C], MUCH_BYTES + 3), OTHER: Fetched([D], 5)}
    assert polls.timeouts_s == [1.0, FRESH_S_MAX]


@pytest.mark.parametrize(
    ("lay_s", "now_ms", "size_bytes"),
    [
        pytest.param(STALE_S / 2, NOW_MS, MUCH_BYTES, id="it was fetched just now"),
        pytest.param(2 * STALE_S, NOW_MS + LIVE_MS, MUCH_BYTES, id="it is a backlog"),
        pytest.param(2 * STALE_S, NOW_MS, MUCH_BYTES - 1, id="the log is not busy"),
        pytest.param(2 * STALE_S, NOW_MS, BYTES_MAX // 2, id="it is enough by itself"),
        pytest.param(2 * STALE_S, NOW_MS, 0, id="there was nothing"),
    ],
)
async def test_one_poll_is_enough_where(lay_s: float, now_ms: int, size_bytes: int) -> None:
    brought = {TP: Fetched([A], size_bytes)} if size_bytes else {}
    polls = Polls(brought)

    fetched = await polled(polls, lay_s=lay_s, now_ms=now_ms)

    assert fetched == brought
    assert polls.timeouts_s == [1.0]


async def test_what_the_second_poll_is_refused_takes_nothing_back() -> None:
    polls = Polls({TP: BUSY}, CorruptRecordException())

    assert await polled(polls) == {TP: BUSY}
