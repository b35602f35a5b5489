"""Spec checks: is one value of a spec within its bounds?

Each raises ``SpecError`` with the path of the value that must change; ``schemas.pools`` checks
what concerns several values together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from schemas.errors import SpecError
from schemas.instants import micros_of
from schemas.specs import Amounts, Metering, Policy

NAME_PATTERN: Final = re.compile(r"[a-z0-9]([-a-z0-9._]{0,61}[a-z0-9])?")
"""Names of pools and entitlements: lower case, at most 63 characters (a Kubernetes name)."""
LABELS_MAX: Final = 32
LABEL_CHARS_MAX: Final = 256
HALF_LIFE_S_MIN: Final = Decimal("0.1")
HALF_LIFE_S_MAX: Final = 604_800
ALPHA_MAX: Final = 1_000
WINDOW_SECONDS: Final = (1, 2, 5, 10, 15, 30)
"""Lengths of the shortest windows: they divide a minute."""
LATENESS_S_MIN: Final = 5
"""A window that nobody counted in may be opened so long after its end."""
METERING_S_MAX: Final = 7 * 86_400
"""No longer than ``usage`` is kept."""


def check_name(path: str, name: str) -> None:
    """Refuse a name that is no name in Kubernetes."""
    if not NAME_PATTERN.fullmatch(name):
        raise SpecError(path, f"{name!r} must match {NAME_PATTERN.pattern}")


def check_range(path: str, value: int, *, low: int, high: int) -> None:
    """Refuse what is not between the two, both included."""
    if not low <= value <= high:
        raise SpecError(path, f"{value} must be between {low} and {high}")


def check_amounts(path: str, amounts: Amounts) -> None:
    """Refuse amounts below 0 and absurd ones."""
    for name in ("tokens_per_second", "kv_cache_gib", "concurrency"):
        amount = getattr(amounts, name)
        if amount is not None and not 0 <= amount <= 1_000_000_000:
            raise SpecError(f"{path}.{name}", "must be between 0 and 1000000000")


def check_policy(policy: Policy) -> None:
    """Refuse half-lives and exponents with which a weight could stop being a weight."""
    for name, half_life_s in (
        ("debtHalfLifeSeconds", policy.debt_half_life_seconds),
        ("burstHalfLifeSeconds", policy.burst_half_life_seconds),
    ):
        if not HALF_LIFE_S_MIN <= half_life_s <= HALF_LIFE_S_MAX:
            raise SpecError(
                f"pool.policy.{name}", f"must be between {HALF_LIFE_S_MIN} and {HALF_LIFE_S_MAX}"
            )
    for name, alpha in (
        ("alphaSlo", policy.alpha_slo),
        ("alphaBurst", policy.alpha_burst),
        ("alphaDebt", policy.alpha_debt),
    ):
        if not 0 <= alpha <= ALPHA_MAX:
            raise SpecError(f"pool.policy.{name}", f"must be between 0 and {ALPHA_MAX}")


def check_metering(metering: Metering) -> None:
    """Refuse windows that do not tile a minute, and lateness that shrinks with the window."""
    path = "pool.metering"
    if metering.window_seconds not in WINDOW_SECONDS:
        raise SpecError(f"{path}.windowSeconds", f"must be one of {WINDOW_SECONDS}")
    for name, seconds, low in (
        ("acceptanceHorizonSeconds", metering.acceptance_horizon_seconds, 1),
        ("futureSecondsMax", metering.future_seconds_max, 0),
        ("latenessSecondSeconds", metering.lateness_second_seconds, LATENESS_S_MIN),
    ):
        if not low <= seconds <= METERING_S_MAX:
            raise SpecError(f"{path}.{name}", f"must be between {low} and {METERING_S_MAX}")
    if not (
        metering.lateness_second_seconds
        <= metering.lateness_minute_seconds
        <= metering.lateness_hour_seconds
        <= METERING_S_MAX
    ):
        raise SpecError(
            f"{path}.latenessMinuteSeconds",
            "needs latenessSecondSeconds <= latenessMinuteSeconds <= latenessHourSeconds "
            f"<= {METERING_S_MAX}",
        )


def check_instant(path: str, text: str | None) -> None:
    """Refuse a date without a time zone."""
    try:
        _ = None if text is None else micros_of(text)
    except ValueError as error:
        raise SpecError(path, f"{text!r} must be RFC 3339 with a time zone") from error


def check_labels(path: str, labels: Mapping[str, str]) -> None:
    """Refuse labels that are too many or too long."""
    if len(labels) > LABELS_MAX:
        raise SpecError(path, f"at most {LABELS_MAX}")
    for key, value in labels.items():
        if len(key) > LABEL_CHARS_MAX or len(value) > LABEL_CHARS_MAX:
            raise SpecError(f"{path}.{key[:20]}", f"at most {LABEL_CHARS_MAX} characters")
