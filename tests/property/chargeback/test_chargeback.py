"""Whatever was used at whatever price: no token is lost and no cent appears."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import given
from hypothesis import strategies as st

from schemas.prices import Price, PriceBook, PricesPerMillion
from schemas.units import TokenCounts
from streams.core.chargeback import Reserved, TokenClass, Used, charge, largest_remainder

NAMES = st.sampled_from(["a", "b", "c"])
TOKENS = st.integers(0, 10**15)
UNIT_PRICES = st.none() | st.decimals(
    min_value=0, max_value=1_000, places=6, allow_nan=False, allow_infinity=False
)
ROWS = st.builds(
    Used,
    tenant=NAMES,
    pool=NAMES,
    model=NAMES,
    service_class=st.sampled_from(["elastic", "spot"]),
    price_list=NAMES,
    start_us=st.just(1_800_000_000_000_000),
    end_us=st.just(1_800_000_060_000_000),
    tokens=st.builds(TokenCounts, TOKENS, TOKENS, TOKENS, TOKENS),
)
IDLE = st.builds(
    Reserved,
    tenant=NAMES,
    pool=NAMES,
    model=NAMES,
    service_class=st.just("guaranteed"),
    price_list=NAMES,
    start_us=st.just(1_800_000_000_000_000),
    end_us=st.just(1_800_000_060_000_000),
    reserved_tokens=TOKENS,
    idle_tokens=TOKENS,
)
BOOKS = st.builds(
    lambda prices: PriceBook(prices=tuple(prices)),
    st.lists(
        st.builds(
            Price,
            price_list=NAMES,
            model=st.sampled_from(["*", "a", "b"]),
            currency=st.sampled_from(["EUR", "USD"]),
            effective_from=st.just("2026-01-01"),
            per_million=st.builds(
                PricesPerMillion,
                input=UNIT_PRICES,
                cache_read=UNIT_PRICES,
                cache_write=UNIT_PRICES,
                output=UNIT_PRICES,
                reserved=UNIT_PRICES,
            ),
        ),
        max_size=5,
    ),
)


@given(rows=st.lists(ROWS, max_size=8), idle=st.lists(IDLE, max_size=4), book=BOOKS)
def test_every_token_is_in_exactly_one_line(
    rows: list[Used], idle: list[Reserved], book: PriceBook
) -> None:
    statement = charge(rows, idle, book)
    used = [line for line in statement.lines if line.token_class is not TokenClass.RESERVED_IDLE]

    assert sum(line.tokens for line in used) == sum(row.tokens.total for row in rows)
    assert statement.tokens == sum(row.tokens.total for row in rows)
    assert sum(total.idle_tokens for total in statement.totals) == sum(
        row.idle_tokens for row in idle
    )


@given(rows=st.lists(ROWS, max_size=8), idle=st.lists(IDLE, max_size=4), book=BOOKS)
def test_lines_sum_to_the_rounded_exact_sum_of_their_currency(
    rows: list[Used], idle: list[Reserved], book: PriceBook
) -> None:
    statement = charge(rows, idle, book)

    for total in statement.totals:
        priced = [line for line in statement.lines if line.currency == total.currency]
        if not total.currency:
            assert [line.amount for line in priced if line.amount is not None] == []
            continue
        exact = sum((line.tokens * (line.unit_price or Decimal(0)) for line in priced), Decimal(0))
        rounded = (exact / 1_000_000).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
        assert (
            sum((line.amount or Decimal(0) for line in priced), Decimal(0))
            == rounded
            == total.amount
        )


@given(
    amounts=st.lists(
        st.decimals(min_value=0, max_value=10**9, places=9, allow_nan=False), max_size=20
    )
)
def test_no_line_moves_by_a_cent_or_more(amounts: list[Decimal]) -> None:
    exact = dict(enumerate(amounts))

    rounded = largest_remainder(exact, places=2)

    assert all(abs(rounded[key] - exact[key]) < Decimal("0.01") for key in exact)
