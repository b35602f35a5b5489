"""Surplus: how the common share lies over the admitters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streams.core.surplus import common_parts


def slots_of(total: int, *, above: Sequence[int], traffic: Sequence[int]) -> list[int]:
    """Return the parts in slots; KV cache goes with them, 10 bytes each."""
    nothing = [0] * len(above)
    parts = common_parts(
        (0, 10 * total, total),
        above=(nothing, [10 * held for held in above], above),
        traffic=traffic,
    )
    return parts[2]


@pytest.mark.parametrize(
    ("total", "above", "traffic", "expected"),
    [
        pytest.param(12, [0, 0], [0, 0], [6, 6], id="even while nothing is known"),
        pytest.param(16, [0, 0], [9, 0], [14, 2], id="three quarters follow the traffic"),
        pytest.param(16, [0, 0], [50, 51], [8, 8], id="small differences move nothing"),
        pytest.param(4, [0, 0, 0, 0], [9, 0, 0, 0], [1, 1, 1, 1], id="everybody gets a first slot"),
        pytest.param(3, [0, 0, 0, 0], [9, 0, 0, 0], [3, 0, 0, 0], id="unless there are too few"),
        pytest.param(10, [8, 0], [0, 0], [2, 2], id="others share what one holds above its part"),
        pytest.param(6, [4, 4], [4, 4], [3, 3], id="who holds too much falls to its part"),
    ],
)
def test_the_parts_of_the_common_share(
    total: int, above: list[int], traffic: list[int], expected: list[int]
) -> None:
    assert slots_of(total, above=above, traffic=traffic) == expected
