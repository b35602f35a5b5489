"""Surplus: how is what every grant leaves free divided over the admitters?

The common share is where the first requests of idle entitlements go, and the next ones of busy
ones until their shares have followed.  So a quarter of it is spread evenly, that a first request
finds room anywhere, and three quarters go where the traffic is.  Traffic is counted in eighths: a
request more here and one less there moves nothing.  An admitter that holds more above its shares
than its part keeps that until it ends, and the others share what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streams.core.rounding import apportion
from streams.core.splitting import SLOTS

EIGHTHS: Final = 8
EVEN_QUARTERS: Final = 1


def common_parts(
    totals: Sequence[int], *, above: Sequence[Sequence[int]], traffic: Sequence[int]
) -> list[list[int]]:
    """Return the parts by dimension and admitter, with Σ max(part, above) <= total if it can be.

    ``above`` is held above the shares now, ``traffic`` the slots held and refused.  The other
    dimensions are divided in step with the slots.
    """
    slots = _levelled(totals[SLOTS], above[SLOTS], _weights(traffic))
    if totals[SLOTS] >= len(slots):
        _give_each_one(slots, above[SLOTS])
    weights = slots if any(slots) else _weights(traffic)
    others = [
        _levelled(total, row, weights)
        for total, row in zip(totals[:SLOTS], above[:SLOTS], strict=True)
    ]
    return [*others, slots]


def _weights(traffic: Sequence[int]) -> list[int]:
    whole, count = sum(traffic), len(traffic)
    if not whole:
        return [1] * count
    eighths = [(EIGHTHS * amount + whole // 2) // whole for amount in traffic]
    even = EVEN_QUARTERS * sum(eighths)
    return [even + (4 - EVEN_QUARTERS) * count * part for part in eighths]


def _levelled(total: int, above: Sequence[int], weights: Sequence[int]) -> list[int]:
    """Return weighted parts of ``total``, less where others hold more than theirs above."""
    full: set[int] = set()
    parts = [0] * len(above)
    while len(full) < len(above):
        left = max(0, total - sum(above[i] for i in full))
        open_weights = [0 if i in full else weight for i, weight in enumerate(weights)]
        parts = apportion(left, open_weights)
        over = {i for i, held in enumerate(above) if i not in full and held > parts[i]}
        if not over:
            break
        full |= over
    level = sum(weights[i] for i in range(len(above)) if i not in full)
    rest = sum(parts)
    return [
        rest * weights[i] // level if level and i in full else part for i, part in enumerate(parts)
    ]


def _give_each_one(slots: list[int], above: Sequence[int]) -> None:
    """Move single slots from the largest free part, so that a first request finds one."""
    for i in range(len(slots)):
        if slots[i] or above[i]:
            continue
        largest = max(range(len(slots)), key=lambda j: slots[j] - above[j])
        if slots[largest] - above[largest] > 1:
            slots[largest] -= 1
            slots[i] += 1
