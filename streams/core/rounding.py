"""Rounding: how is a whole amount divided into whole parts so that nothing is lost or invented?

Both functions give each part its exact value rounded down and hand what is left over, one unit
each, to the largest remainders (ties: the earlier one).  Amounts may be of any size.
"""

from __future__ import annotations

from collections.abc import Sequence


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Return ``total`` divided in proportion to ``weights``; zeros when no weight is above 0."""
    whole = sum(weights)
    if whole <= 0 or total <= 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    if left:
        order = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
        for index in order[:left]:
            parts[index] += 1
    return parts


def fill(wants: Sequence[int], weights: Sequence[int], available: int) -> list[int]:
    """Return the weighted max-min fair grants: ``min(sum(wants), available)`` in all.

    Progressive filling: a common level rises and each want receives weight × level until it is
    met or nothing is left.  Wants are met in the order of want ÷ weight, so one sort finds the
    level: O(n log n).  Nobody gets more than it wants, and whoever gets less than it wants has a
    grant per weight that no other unmet want exceeds (within one unit).  Weights are above 0.
    """
    if sum(wants) <= available:
        return list(wants)
    # Two ratios of wants and weights differ by at least 1 / (weight · weight), so this scale
    # keeps their order exact.
    scale = max(weights) ** 2
    order = sorted(range(len(wants)), key=lambda i: wants[i] * scale // weights[i])
    grants = [0] * len(wants)
    left, weight = max(0, available), sum(weights)
    for place, index in enumerate(order):
        if wants[index] * weight > left * weights[index]:
            unmet = order[place:]
            for i, part in zip(unmet, apportion(left, [weights[i] for i in unmet]), strict=True):
                grants[i] = part
            break
        grants[index] = wants[index]
        left -= wants[index]
        weight -= weights[index]
    return grants
