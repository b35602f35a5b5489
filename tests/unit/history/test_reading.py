"""What is read at once is bounded in bytes, whatever the records look like."""

from __future__ import annotations

import pytest

from streams.history.feed import POLL_RECORDS_MAX, POLL_RECORDS_MIN, records_in
from streams.history.reading import pieces
from tests.integration.history.records import Stored


def records(*sizes: int) -> list[Stored]:
    return [Stored(offset, b"x" * size) for offset, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param((), [], id="nothing"),
        pytest.param((1, 2, 3), [[1, 2, 3]], id="all fit"),
        pytest.param((5, 5, 5), [[5, 5], [5]], id="two reach the bound"),
        pytest.param((30, 1), [[30], [1]], id="one is larger than the bound"),
        pytest.param((0, 0, 10), [[0, 0, 10]], id="tombstones weigh nothing"),
    ],
)
def test_a_piece_ends_with_the_record_that_reaches_its_bound(
    sizes: tuple[int, ...], expected: list[list[int]]
) -> None:
    found = [
        [len(each.value or b"") for each in piece]
        for piece in pieces(records(*sizes), bytes_max=10)
    ]

    assert found == expected


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param((), None, id="nothing to go by"),
        pytest.param((1_000, 3_000), 500, id="by the mean"),
        pytest.param((1,), POLL_RECORDS_MAX, id="never more"),
        pytest.param((1_000_000,), POLL_RECORDS_MIN, id="never fewer"),
        pytest.param((0,), POLL_RECORDS_MAX, id="tombstones"),
    ],
)
def test_a_poll_asks_for_as_many_records_as_its_bytes_allow(
    sizes: tuple[int, ...], expected: int | None
) -> None:
    assert records_in(1_000_000, [records(*sizes)]) == expected
