"""Which price is in force?"""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.errors import SpecError
from schemas.prices import Price, PricesPerMillion, effective_us, price_at

JULY_US = 1_782_864_000_000_000


def price(amount: str, **changes: str) -> Price:
    return Price(
        **{"currency": "EUR", "effective_from": "2026-01-01", **changes},
        per_million=PricesPerMillion(output=Decimal(amount)),
    )


def in_force(*prices: Price, model: str = "m") -> Price | None:
    return price_at(prices, price_list="default", model=model, service_class="spot", at_us=JULY_US)


def test_an_unknown_price_is_none_and_not_zero() -> None:
    assert in_force() is None
    assert in_force(price("1", price_list="other")) is None


def test_a_price_of_the_future_is_not_in_force() -> None:
    assert in_force(price("1", effective_from="2026-12-01")) is None


def test_the_latest_that_has_started_wins() -> None:
    old, new = price("1"), price("2", effective_from="2026-06-01T00:00:00+02:00")

    assert in_force(old, new) == new


def test_a_row_of_the_model_beats_a_newer_one_for_all() -> None:
    own, every = price("1", model="m"), price("2", effective_from="2026-06-01")

    assert in_force(own, every) == own
    assert in_force(own, every, model="other") == every


def test_a_date_means_midnight_utc() -> None:
    assert effective_us(price("1", effective_from="2026-07-01")) == JULY_US


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="effectiveFrom"):
        effective_us(price("1", effective_from="soon"))
