"""A line says what was used at which price; what has no price has no amount."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from schemas.prices import Price, PriceBook, PricesPerMillion
from schemas.units import TokenCounts
from streams.core.chargeback import (
    Line,
    Reserved,
    Total,
    Used,
    charge,
    largest_remainder,
    segments,
)

PER_MILLION = PricesPerMillion(input=Decimal(3), output=Decimal("0.15"), reserved=Decimal(1))
SPAN: dict[str, Any] = {"start_us": 1_800_000_000_000_000, "end_us": 1_800_000_060_000_000}
OWNER: dict[str, Any] = {
    "tenant": "acme",
    "pool": "chat",
    "model": "llama",
    "service_class": "elastic",
    "price_list": "default",
}


def book(*prices: Price) -> PriceBook:
    return PriceBook(prices=prices)


def price(**named: Any) -> Price:
    fields: dict[str, Any] = {
        "currency": "EUR",
        "effective_from": "2026-01-01",
        "per_million": PER_MILLION,
        **named,
    }
    return Price(**fields)


def used(tokens: TokenCounts, **named: Any) -> Used:
    return Used(tokens=tokens, **{**OWNER, **SPAN, **named})


def reserved(idle: int, **named: Any) -> Reserved:
    return Reserved(reserved_tokens=2 * idle, idle_tokens=idle, **{**OWNER, **SPAN, **named})


def told(line: Line) -> tuple[str, int, Decimal | None, Decimal | None]:
    return line.token_class.value, line.tokens, line.unit_price, line.amount


def test_each_token_class_that_was_used_is_a_line() -> None:
    statement = charge([used(TokenCounts(2_000_000, 0, 0, 1_000_000, 400))], [], book(price()))

    assert [told(line) for line in statement.lines] == [
        ("input", 2_000_000, Decimal(3), Decimal("6.00")),
        ("output", 1_000_000, Decimal("0.15"), Decimal("0.15")),
    ]
    assert statement.totals == (
        Total(currency="EUR", tokens=3_000_000, idle_tokens=0, amount=Decimal("6.15")),
    )


def test_a_token_class_without_a_price_is_unpriced_and_never_free() -> None:
    statement = charge([used(TokenCounts(cache_read_tokens=7))], [], book(price()))

    assert [told(line) for line in statement.lines] == [("cache_read", 7, None, None)]
    assert statement.totals == (Total(currency="", tokens=7, idle_tokens=0, amount=None),)


@pytest.mark.parametrize(
    "prices",
    [
        pytest.param((), id="an empty book"),
        pytest.param((price(price_list="other"),), id="another list"),
        pytest.param((price(model="other"),), id="another model"),
        pytest.param((price(effective_from="2999-01-01"),), id="not in force yet"),
    ],
)
def test_usage_that_no_price_fits_is_unpriced(prices: tuple[Price, ...]) -> None:
    statement = charge([used(TokenCounts(input_tokens=5))], [], book(*prices))

    assert [line.amount for line in statement.lines] == [None]
    assert statement.tokens == 5


def test_a_price_of_nothing_is_an_amount_of_nothing() -> None:
    free = price(per_million=PricesPerMillion(input=Decimal(0)))

    statement = charge([used(TokenCounts(input_tokens=5))], [], book(free))

    assert [line.amount for line in statement.lines] == [Decimal("0.00")]


def test_what_was_reserved_and_idle_stands_beside_what_was_used() -> None:
    statement = charge([used(TokenCounts(10))], [reserved(3_000_000), reserved(0)], book(price()))

    assert [told(line) for line in statement.lines] == [
        ("input", 10, Decimal(3), Decimal("0.00")),
        ("reserved_idle", 3_000_000, Decimal(1), Decimal("3.00")),
    ]
    assert (statement.totals[0].tokens, statement.totals[0].idle_tokens) == (10, 3_000_000)


def test_currencies_are_never_added_up() -> None:
    dollars = price(model="other", currency="USD")
    rows = [used(TokenCounts(1_000_000)), used(TokenCounts(1_000_000), model="other")]

    statement = charge(rows, [], book(price(), dollars))

    assert [(total.currency, total.amount) for total in statement.totals] == [
        ("EUR", Decimal("3.00")),
        ("USD", Decimal("3.00")),
    ]


def test_a_currency_may_have_no_cents() -> None:
    yen = price(currency="JPY")

    statement = charge([used(TokenCounts(500_000))], [], book(yen), places={"JPY": 0})

    assert [line.amount for line in statement.lines] == [Decimal(2)]


def test_lines_are_rounded_so_that_they_sum_to_the_rounded_total() -> None:
    thirds = price(per_million=PricesPerMillion(input=Decimal("3333.333333")))
    rows = [used(TokenCounts(1), tenant=tenant) for tenant in ("a", "b", "c")]

    statement = charge(rows, [], book(thirds))

    assert [line.amount for line in statement.lines] == [
        Decimal("0.01"),
        Decimal("0.00"),
        Decimal("0.00"),
    ]
    assert statement.totals[0].amount == Decimal("0.01")


@pytest.mark.parametrize(
    ("exact", "expected"),
    [
        pytest.param(["0.004", "0.004"], ["0.01", "0.00"], id="0.008 rounds to 0.01"),
        pytest.param(["0.005"], ["0.00"], id="half goes to even"),
        pytest.param(["0.015"], ["0.02"], id="half goes to even, up"),
        pytest.param(["1.001", "1.009"], ["1.00", "1.01"], id="the largest remainder first"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_largest_remainder(exact: list[str], expected: list[str]) -> None:
    rounded = largest_remainder(dict(enumerate(map(Decimal, exact))), places=2)

    assert [rounded[index] for index in range(len(exact))] == list(map(Decimal, expected))


def test_a_period_is_split_where_a_price_begins_inside_it() -> None:
    prices = book(
        *(price(effective_from=f"2026-01-0{day}") for day in (3, 1, 2, 2)),
    )
    day_us = 86_400_000_000
    start_us = 1_767_225_600_000_000  # 2026-01-01

    spans = segments(prices, start_us=start_us, end_us=start_us + 2 * day_us)

    assert spans == [
        (start_us, start_us + day_us),
        (start_us + day_us, start_us + 2 * day_us),
    ]
