"""Rounding: how is a whole amount divided into whole parts so that nothing is lost or invented?

Both functions give each part its exact value rounded down and hand what is left over, one unit
each, to the largest remainders (ties: the earlier one).  Amounts may be of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

PASSES_MAX: Final = 16
"""Passes of a fill over the wants that are not met yet, before it sorts them."""


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Return ``total`` divided in proportion to ``weights``; zeros when no weight is above 0."""
    whole = sum(weights)
    if whole <= 0 or total <= 0:
        return [0] * len(weights)
    divided = [divmod(total * weight, whole) for weight in weights]
    parts = [part for part, _ in divided]
    left = total - sum(parts)
    if left:
        rests = [rest for _, rest in divided]
        for index in sorted(range(len(weights)), key=rests.__getitem__, reverse=True)[:left]:
            parts[index] += 1
    return parts


def fill(wants: Sequence[int], weights: Sequence[int], available: int) -> list[int]:
    """Return the weighted max-min fair grants: ``min(sum(wants), available)`` in all.

    Progressive filling: a common level rises and each want receives weight × level until it is
    met or nothing is left.  A pass meets every want that the level ``left ÷ weights`` reaches,
    which raises the level for the rest; few passes find it as a rule, and where they do not, one
    sort by want ÷ weight does, so it is O(n log n) at most.  Nobody gets more than it wants, and
    whoever gets less than it wants has a grant per weight that no other unmet want exceeds (within
    one unit).  Weights are above 0.
    """
    if sum(wants) <= available:
        return list(wants)
    grants = [0] * len(wants)
    left, weight = max(0, available), sum(weights)
    unmet: Sequence[int] = range(len(wants))
    for _ in range(PASSES_MAX):
        still = [i for i in unmet if wants[i] * weight > left * weights[i]]
        if len(still) == len(unmet):
            break
        kept = set(still)
        for i in unmet:
            if i not in kept:
                grants[i] = wants[i]
                left -= wants[i]
                weight -= weights[i]
        unmet = still
    else:
        unmet, left = _met_in_order(grants, wants, weights, unmet=unmet, left=left)
    for i, part in zip(unmet, apportion(left, [weights[i] for i in unmet]), strict=True):
        grants[i] = part
    return grants


def _met_in_order(
    grants: list[int],
    wants: Sequence[int],
    weights: Sequence[int],
    *,
    unmet: Sequence[int],
    left: int,
) -> tuple[list[int], int]:
    """Meet wants in the order of want ÷ weight while the level reaches; return what is left.

    Two ratios of wants and weights differ by at least 1 / (weight · weight), so the scale keeps
    their order exact.
    """
    scale = max(weights[i] for i in unmet) ** 2
    order = sorted(unmet, key=lambda i: wants[i] * scale // weights[i])
    weight = sum(weights[i] for i in unmet)
    for place, i in enumerate(order):
        if wants[i] * weight > left * weights[i]:
            return order[place:], left
        grants[i] = wants[i]
        left -= wants[i]
        weight -= weights[i]
    return [], left
