"""Debt, burst, weight: who is owed service, who has had more than its part, and who goes first?

An entitlement that gets less than min(demand, baseline) is owed the difference; debt raises its
weight in later ticks until the others have paid it back.  Use beyond the baseline makes debt
slightly negative, never enough to turn a weight off.  Burst is use beyond the baseline in the
dominant dimension, and lowers the weight.  Both fade with a half-life in seconds, so the length
of a tick does not matter.  Rank (the class) always goes before weight.

Ratios are integers in parts per million; debt, burst and decay are carried in parts per trillion
from tick to tick (ppm and a rest on the wire).  A tick's rounding and its decay's are below two
parts per trillion together and fade like the debt, so they never add up to more than
3 x half-life / tick of them: below a twentieth of a ppm with a half-life of an hour and ticks of
250 ms.  Everything is a pure function of its arguments.
"""

from __future__ import annotations

from decimal import Decimal
from math import isqrt
from typing import Final, NamedTuple, NewType

from schemas.specs import Policy
from schemas.units import PPM, US_PER_S, Ppm, Resources

Ppt = NewType("Ppt", int)
"""Parts per trillion."""
TRILLION: Final = 10**12
DEBT_MIN: Final = -200_000
DEBT_MAX: Final = PPM
BURST_MAX: Final = 4 * PPM
DEBT_FACTOR_MIN: Final = 200_000
"""The least that debt may leave of a weight."""
WEIGHT_MIN: Final = 1

_FRACTION_BITS: Final = 40
_ONE: Final = 1 << 62


def _roots() -> tuple[int, ...]:
    """Return 0.5 ** (1/2), 0.5 ** (1/4), ... as 62-bit fractions, rounded down."""
    roots, power = [], _ONE >> 1
    for _ in range(_FRACTION_BITS):
        power = isqrt(power * _ONE)
        roots.append(power)
    return tuple(roots)


_HALVINGS: Final = _roots()


def decay_over(elapsed_us: int, *, half_life_s: Decimal) -> Ppt:
    """Return ``0.5 ** (elapsed / half-life)``, rounded to nearest; integers throughout."""
    half_life_us = max(1, int(half_life_s * US_PER_S))
    halvings, rest_us = divmod(max(0, elapsed_us), half_life_us)
    if halvings >= 62:
        return Ppt(0)
    fraction = (rest_us << _FRACTION_BITS) // half_life_us
    power = _ONE
    for index, root in enumerate(_HALVINGS):
        if fraction >> (_FRACTION_BITS - 1 - index) & 1:
            power = power * root // _ONE
    return Ppt(((power >> halvings) * TRILLION + _ONE // 2) // _ONE)


def joined(ppm: int, rest: int) -> Ppt:
    """Return debt or burst as it stands on the wire: ppm, and millionths of a ppm."""
    return Ppt(ppm * PPM + rest)


def parted(amount: Ppt) -> tuple[Ppm, int]:
    """Return ppm, rounded toward zero, and the rest of the same sign."""
    ppm = _toward_zero(amount, PPM)
    return Ppm(ppm), amount - ppm * PPM


def gap_of(*, served: int, pending: int, baseline: int) -> Ppm:
    """Return (min(served + pending, baseline) - served) / baseline, rounded toward zero.

    All in tokens/s.  Positive: it got less than it asked for inside its baseline.  Clamped to
    one baseline; 0 without a baseline.
    """
    if baseline <= 0:
        return Ppm(0)
    gap = _toward_zero((min(served + pending, baseline) - served) * PPM, baseline)
    return Ppm(min(max(gap, -PPM), PPM))


def next_debt(debt: Ppt, *, gap: Ppm, decay: Ppt) -> Ppt:
    """Return the debt after one tick (parts per trillion of the baseline).

    ``decay·debt + (1 - decay)·gap`` (arXiv 2603.00356 eq. 2), rounded toward zero and clamped to
    ``[DEBT_MIN, DEBT_MAX]`` (ppm).  An idle entitlement has gap 0, so its debt fades and it cannot
    hoard credit.
    """
    assert -PPM <= gap <= PPM
    assert 0 <= decay <= TRILLION
    owed = _toward_zero(decay * debt + (TRILLION - decay) * gap * PPM, TRILLION)
    return Ppt(min(max(owed, DEBT_MIN * PPM), DEBT_MAX * PPM))


def excess_of(use: Resources, *, baseline: Resources) -> Ppm:
    """Return use beyond the baseline in the dominant dimension, in ppm of it, rounded down.

    A dimension without a baseline says nothing.  Clamped to ``[0, BURST_MAX]``.
    """
    excess = 0
    for used, amount in (
        (use.tokens_per_s, baseline.tokens_per_s),
        (use.kv_bytes, baseline.kv_bytes),
        (use.slots, baseline.slots),
    ):
        if used > amount > 0:
            excess = max(excess, (used - amount) * PPM // amount)
    return Ppm(min(excess, BURST_MAX))


def next_burst(burst: Ppt, *, excess: Ppm, decay: Ppt) -> Ppt:
    """Return the burst after one tick: ``decay·burst + (1 - decay)·excess``, rounded down."""
    faded = (decay * burst + (TRILLION - decay) * excess * PPM) // TRILLION
    return Ppt(min(max(faded, 0), BURST_MAX * PPM))


class Alphas(NamedTuple):
    """The exponents of eq. (1), in ppm."""

    slo: int
    burst: int
    debt: int


def alphas_of(policy: Policy) -> Alphas:
    """Return the policy's exponents, rounded down to a ppm."""
    return Alphas(
        int(policy.alpha_slo * PPM), int(policy.alpha_burst * PPM), int(policy.alpha_debt * PPM)
    )


def weight_of(*, slo_ms: int, reference_slo_ms: int, debt: Ppm, burst: Ppm, alphas: Alphas) -> Ppm:
    """Return the weight inside a class (eq. 1 without the class factor), at least ``WEIGHT_MIN``.

    ``(1 + a_slo·slo/reference)^-1 · (1 + a_burst·burst)^-1 · clamp(1 + a_debt·debt)``, rounded
    down once; the debt factor is kept in ``[0.2, 1 + a_debt]``.
    """
    owed = PPM + _toward_zero(alphas.debt * debt, PPM)
    owed = min(max(owed, DEBT_FACTOR_MIN), PPM + alphas.debt)
    urgency = reference_slo_ms * PPM + alphas.slo * slo_ms
    bursting = PPM + alphas.burst * burst // PPM
    weight = owed * reference_slo_ms * PPM * PPM // (urgency * bursting)
    return Ppm(max(weight, WEIGHT_MIN))


def _toward_zero(dividend: int, divisor: int) -> int:
    quotient = abs(dividend) // divisor
    return quotient if dividend >= 0 else -quotient
