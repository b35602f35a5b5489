"""Prices: what a million tokens of each class cost, in which currency, from when.

An unknown price stays unknown: it is printed as unpriced, never as 0.  Money is Decimal and is
rounded once per printed line.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from schemas.errors import SpecError


class PricesPerMillion(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Price of 1,000,000 tokens by token class; unnamed: unpriced."""

    input: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    output: Decimal | None = None
    reserved: Decimal | None = None
    """Price of 1,000,000 tokens of reserved throughput that stood idle."""


class Price(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Prices of one list and model from ``effectiveFrom`` until the next one."""

    price_list: str = "default"
    model: str = "*"
    """``*``: every model without a row of its own."""
    service_class: str = "*"
    currency: str
    effective_from: str
    """RFC 3339 instant, or a date (midnight UTC)."""
    per_million: PricesPerMillion


class PriceBook(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The file ``prices.yaml``."""

    prices: tuple[Price, ...] = ()


def effective_us(price: Price) -> int:
    """Return the instant a price starts, in microseconds; raise ``SpecError`` when it is none."""
    try:
        moment = datetime.datetime.fromisoformat(price.effective_from)
    except ValueError as error:
        raise SpecError("prices.effectiveFrom", str(error)) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (moment - epoch) // datetime.timedelta(microseconds=1)


def price_at(
    prices: Sequence[Price], *, price_list: str, model: str, service_class: str, at_us: int
) -> Price | None:
    """Return the price in force: the most specific row, then the latest that has started."""
    fitting = [
        price
        for price in prices
        if price.price_list == price_list
        and price.model in ("*", model)
        and price.service_class in ("*", service_class)
        and effective_us(price) <= at_us
    ]

    def specific(price: Price) -> tuple[bool, bool, int]:
        return price.model != "*", price.service_class != "*", effective_us(price)

    return max(fitting, key=specific, default=None)
