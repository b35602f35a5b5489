"""Chargeback: what usage costs, line by line, and what was reserved and stood idle beside it.

A line is one tenant's tokens of one class in one pool at one price.  Amounts are exact Decimals
until a line is printed; then each is rounded once, so that a currency's lines add up to its
rounded total (largest remainder).  What has no price has no amount (None), never 0.  Every token
that comes in comes out in exactly one line, so the lines sum to the ledger.

Pure: prices come as a ``PriceBook``; the caller splits usage where a price changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from enum import StrEnum
from itertools import pairwise
from typing import Final

import msgspec

from schemas.prices import Price, PriceBook, PricesPerMillion, effective_us, price_at
from schemas.units import TokenCounts

PER_MILLION: Final = Decimal(1_000_000)
EXACT: Final = Context(prec=60)
"""Enough digits for any sum of 10^19 tokens at a price of 30 digits."""
PLACES: Final = 2


class TokenClass(StrEnum):
    """What a line charges for."""

    INPUT = "input"
    CACHE_READ = "cache_read"
    CACHE_WRITE = "cache_write"
    OUTPUT = "output"
    RESERVED_IDLE = "reserved_idle"
    """Reserved throughput that stood idle: cost tokens that nobody used, in no sum of usage."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Accepted usage of one tenant in one pool and class, within ``[start_us, end_us)``."""

    tenant: str
    pool: str
    model: str
    service_class: str
    price_list: str
    start_us: int
    end_us: int
    tokens: TokenCounts
    events: int = 0


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """Floors x time of one tenant in one pool and class, in cost tokens."""

    tenant: str
    pool: str
    model: str
    service_class: str
    price_list: str
    start_us: int
    end_us: int
    reserved_tokens: int
    idle_tokens: int
    """The part that was not served, tick by tick."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One printed line."""

    tenant: str
    pool: str
    model: str
    service_class: str
    token_class: TokenClass
    start_us: int
    end_us: int
    tokens: int
    unit_price: Decimal | None
    """For 1,000,000 tokens; None: unpriced."""
    currency: str
    amount: Decimal | None
    """Rounded to the places of the currency; None: unpriced."""


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of a currency's lines; ``""`` collects what is unpriced."""

    currency: str
    tokens: int
    idle_tokens: int
    amount: Decimal | None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """All lines of a period, and their sums."""

    lines: tuple[Line, ...]
    totals: tuple[Total, ...]

    @property
    def tokens(self) -> int:
        """Tokens used, priced or not: what the ledger counted."""
        return sum(total.tokens for total in self.totals)


class _Item(msgspec.Struct, frozen=True):
    """A line before rounding."""

    line: Line
    exact: Decimal | None


def charge(
    used: Iterable[Used],
    reserved: Iterable[Reserved],
    book: PriceBook,
    *,
    places: Mapping[str, int] | None = None,
) -> Statement:
    """Return the statement; ``places`` names decimals by currency where they are not 2."""
    with localcontext(EXACT):
        items = [item for row in used for item in _used_items(row, book)]
        items += [item for row in reserved for item in _reserved_items(row, book)]
        lines = _rounded(items, places=places or {})
        return Statement(lines=lines, totals=_totals(lines))


def segments(book: PriceBook, *, start_us: int, end_us: int) -> list[tuple[int, int]]:
    """Return ``[start_us, end_us)`` split wherever a price of the book begins."""
    starts = {effective_us(price) for price in book.prices}
    edges = [start_us, *sorted(at_us for at_us in starts if start_us < at_us < end_us), end_us]
    return list(pairwise(edges))


def _used_items(row: Used, book: PriceBook) -> list[_Item]:
    price = _price(row, book)
    counts = {
        TokenClass.INPUT: row.tokens.input_tokens,
        TokenClass.CACHE_READ: row.tokens.cache_read_tokens,
        TokenClass.CACHE_WRITE: row.tokens.cache_write_tokens,
        TokenClass.OUTPUT: row.tokens.output_tokens,
    }
    return [
        _item(row, token_class, tokens, price) for token_class, tokens in counts.items() if tokens
    ]


def _reserved_items(row: Reserved, book: PriceBook) -> list[_Item]:
    if not row.idle_tokens:
        return []
    return [_item(row, TokenClass.RESERVED_IDLE, row.idle_tokens, _price(row, book))]


def _price(row: Used | Reserved, book: PriceBook) -> Price | None:
    return price_at(
        book.prices,
        price_list=row.price_list,
        model=row.model,
        service_class=row.service_class,
        at_us=row.start_us,
    )


def _item(row: Used | Reserved, token_class: TokenClass, tokens: int, price: Price | None) -> _Item:
    unit = None if price is None else _unit_price(price.per_million, token_class)
    line = Line(
        tenant=row.tenant,
        pool=row.pool,
        model=row.model,
        service_class=row.service_class,
        token_class=token_class,
        start_us=row.start_us,
        end_us=row.end_us,
        tokens=tokens,
        unit_price=unit,
        currency="" if price is None or unit is None else price.currency,
        amount=None,
    )
    return _Item(line, None if unit is None else tokens * unit / PER_MILLION)


def _unit_price(prices: PricesPerMillion, token_class: TokenClass) -> Decimal | None:
    match token_class:
        case TokenClass.INPUT:
            return prices.input
        case TokenClass.CACHE_READ:
            return prices.cache_read
        case TokenClass.CACHE_WRITE:
            return prices.cache_write
        case TokenClass.OUTPUT:
            return prices.output
        case TokenClass.RESERVED_IDLE:
            return prices.reserved


def _rounded(items: Sequence[_Item], *, places: Mapping[str, int]) -> tuple[Line, ...]:
    amounts: dict[int, Decimal] = {}
    currencies = {item.line.currency for item in items if item.exact is not None}
    for currency in sorted(currencies):
        exact = {
            index: item.exact
            for index, item in enumerate(items)
            if item.exact is not None and item.line.currency == currency
        }
        amounts |= largest_remainder(exact, places=places.get(currency, PLACES))
    return tuple(
        msgspec.structs.replace(item.line, amount=amounts.get(index))
        for index, item in enumerate(items)
    )


def largest_remainder(exact: Mapping[int, Decimal], *, places: int) -> dict[int, Decimal]:
    """Return the amounts rounded so that they sum to the rounded (half even) exact sum.

    Each is rounded down, then the largest remainders get the missing units, earlier keys first.
    """
    unit = Decimal(1).scaleb(-places)
    floor = {key: amount.quantize(unit, ROUND_FLOOR) for key, amount in exact.items()}
    total = sum(exact.values(), Decimal(0)).quantize(unit, ROUND_HALF_EVEN)
    missing = int((total - sum(floor.values(), Decimal(0))) / unit)
    by_remainder = sorted(exact, key=lambda key: (floor[key] - exact[key], key))
    for key in by_remainder[:missing]:
        floor[key] += unit
    return floor


def _totals(lines: Sequence[Line]) -> tuple[Total, ...]:
    return tuple(
        _total(currency, [line for line in lines if line.currency == currency])
        for currency in sorted({line.currency for line in lines})
    )


def _total(currency: str, lines: Sequence[Line]) -> Total:
    idle = [line for line in lines if line.token_class is TokenClass.RESERVED_IDLE]
    amounts = [line.amount for line in lines if line.amount is not None]
    return Total(
        currency=currency,
        tokens=sum(line.tokens for line in lines) - sum(line.tokens for line in idle),
        idle_tokens=sum(line.tokens for line in idle),
        amount=sum(amounts, Decimal(0)) if amounts else None,
    )
