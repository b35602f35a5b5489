"""Paper: eq. (1) to (3) of arXiv 2603.00356, letter by letter, for ``mode: paper``.

Weights carry the class (1000, 1000, 100, 1, 0.1), the SLO target counts against the average of the
pool's own, burst is the sum over the dimensions, debt is clamped nowhere and takes no notice of
demand.  So what is wrong with them stays wrong: a weight turns 0 at a debt of -0.25 and negative
below it, classes can change places, an idle entitlement is owed its whole baseline.  The default
policy (``streams.core.debt``) mends that; this one is for reproducing the paper's tables.

Floats, here alone: they are the paper's arithmetic.  A class without a baseline has neither gap
nor burst, since the paper would divide by 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from schemas.specs import Policy, ServiceClass
from schemas.units import US_PER_S, Dimension, Resources

CLASS_WEIGHTS: Final = {
    ServiceClass.DEDICATED: 1000.0,
    ServiceClass.GUARANTEED: 1000.0,
    ServiceClass.ELASTIC: 100.0,
    ServiceClass.SPOT: 1.0,
    ServiceClass.PREEMPTIBLE: 0.1,
}


def average_slo_ms(slos_ms: Sequence[int]) -> float:
    """Return the plain mean of the pool's SLO targets; 1 for a pool of nobody."""
    return sum(slos_ms) / len(slos_ms) if slos_ms else 1.0


def weight_of(
    service_class: ServiceClass,
    *,
    slo_ms: int,
    average_ms: float,
    debt: float,
    burst: float,
    policy: Policy,
) -> float:
    """Return eq. (1); it is 0 or negative for a debt of -1 / alpha_debt and below."""
    urgency = 1 + float(policy.alpha_slo) * slo_ms / average_ms
    bursting = 1 + float(policy.alpha_burst) * burst
    owed = 1 + float(policy.alpha_debt) * debt
    return CLASS_WEIGHTS[service_class] / urgency / bursting * owed


def gap_of(*, served: int, baseline: int) -> float:
    """Return (baseline - served) / baseline in tokens/s: whole for an idle entitlement."""
    return (baseline - served) / baseline if baseline > 0 else 0.0


def excess_of(use: Resources, *, baseline: Resources) -> float:
    """Return use beyond the baseline, summed over the dimensions."""
    return sum(
        max(0.0, use.of(dimension) / baseline.of(dimension) - 1)
        for dimension in Dimension
        if baseline.of(dimension) > 0
    )


def faded(before: float, now: float, *, decay: float) -> float:
    """Return eq. (2), and (3) likewise: the moving average of gap or excess."""
    return decay * before + (1 - decay) * now


def decay_over(elapsed_us: int, *, half_life_s: Decimal) -> float:
    """Return gamma, which the paper gives per accounting interval: 0.7 in about 5 s at 9.7 s."""
    return float(0.5 ** (max(0, elapsed_us) / (float(half_life_s) * US_PER_S)))
