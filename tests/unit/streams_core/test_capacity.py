"""Capacity: the highest rank that has not expired is believed."""

from __future__ import annotations

import pytest

from schemas.capacity import PoolCapacity, WriterRank
from schemas.units import NOTHING, Resources
from streams.core.capacity import SPEC_WRITER, LiveCapacity, winner
from tests.unit.streams_core.pools import GIB, pool_of

POOL = pool_of(replicas=2)
NOW_MS = 1_000_000
PER_REPLICA = Resources(240, 16 * GIB, 16)


def record(
    writer: str, rank: int, ready: int, *, ttl_ms: int = 0, per_replica: Resources = NOTHING
) -> PoolCapacity:
    """Return what one writer says."""
    return PoolCapacity(
        pool="chat", writer=writer, rank=rank, ready=ready, ttl_ms=ttl_ms, per_replica=per_replica
    )


def believed(*records: tuple[PoolCapacity, int]) -> LiveCapacity:
    """Return who wins now."""
    return winner(records, now_us=NOW_MS * 1_000, pool=POOL)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([], (SPEC_WRITER, 2), id="nobody: replicas.min"),
        pytest.param(
            [
                (record("up", WriterRank.UP, 1), NOW_MS),
                (record("op", WriterRank.OPERATOR, 3), NOW_MS - 500),
            ],
            ("op", 3),
            id="the higher rank",
        ),
        pytest.param(
            [
                (record("up", WriterRank.UP, 1), 0),
                (record("replayer", WriterRank.REPLAYER, 3, ttl_ms=500), NOW_MS - 501),
            ],
            ("up", 1),
            id="not one that has expired",
        ),
        pytest.param(
            [(record("replayer", WriterRank.REPLAYER, 3, ttl_ms=500), NOW_MS - 500)],
            (SPEC_WRITER, 2),
            id="it expires at the end of its time",
        ),
        pytest.param(
            [
                (record("a", WriterRank.CONTROLLER, 3), NOW_MS - 1),
                (record("b", WriterRank.CONTROLLER, 4), NOW_MS - 2),
            ],
            ("a", 3),
            id="of equal ranks the one stored last",
        ),
    ],
)
def test_who_is_believed(
    records: list[tuple[PoolCapacity, int]], expected: tuple[str, int]
) -> None:
    capacity = believed(*records)

    assert (capacity.writer, capacity.ready) == expected
    assert capacity.per_replica == PER_REPLICA


def test_what_was_measured_of_a_replica_replaces_the_spec() -> None:
    measured = Resources(100, GIB, 8)

    capacity = believed((record("c", WriterRank.CONTROLLER, 3, per_replica=measured), 0))

    assert capacity.total == Resources(300, 3 * GIB, 24)


def test_only_ready_replicas_carry_anything() -> None:
    capacity = LiveCapacity("c", ready=1, starting=5, draining=5, per_replica=PER_REPLICA)

    assert capacity.total == PER_REPLICA
