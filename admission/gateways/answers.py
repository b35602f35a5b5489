"""Answers: what an admitter's reply means.  A refusal is a value, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from admission.gateways.http import Reply
from schemas.errors import MalformedEventError, TokenpoolsError, UnavailableError
from schemas.reservations import (
    ErrorBody,
    Misdirected,
    RefusalBody,
    Renewal,
    Reservation,
    SettlementResult,
)
from schemas.units import Dimension
from schemas.wire import decode

T = TypeVar("T", bound=msgspec.Struct)

CREATED, OK = 201, 200
GONE = frozenset({404, 409, 410})
MISDIRECTED = 421


class RejectedRequestError(TokenpoolsError):
    """An admitter says that the request itself is wrong (400, 401, 404, 413, 422)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The request may not start now; ``ticket`` belongs into the retry after ``retry_after_ms``."""

    reason: str
    """A ``schemas.decisions.RefusalReason``."""
    message: str = ""
    retry_after_ms: int = 0
    ticket: str = ""
    home_url: str = ""
    dimension: Dimension | None = None
    limit: int = 0
    """The limit that was met, in the dimension's unit."""
    status: int = 429
    admitter_url: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """No admitter knows the reservation any more: it expired, or had ended."""

    message: str


def reservation_answer(reply: Reply) -> Reservation | Refused:
    """Return the answer to a reservation; raise ``RejectedRequestError`` for a wrong request."""
    if reply.status in (OK, CREATED):
        return _read(reply, Reservation)
    try:
        refusal = decode(reply.body, RefusalBody).error
    except MalformedEventError:
        raise _rejected(reply) from None
    return Refused(
        reason=refusal.reason,
        message=refusal.message,
        retry_after_ms=refusal.retry_after_ms,
        ticket=refusal.ticket,
        home_url=refusal.home_url,
        dimension=refusal.dimension,
        limit=refusal.limit,
        status=reply.status,
        admitter_url=reply.url,
    )


def renewal_answer(reply: Reply) -> Renewal | Gone:
    """Return the answer to a renewal."""
    return Gone(_message(reply)) if reply.status in GONE else _read_ok(reply, Renewal)


def settlement_answer(reply: Reply) -> SettlementResult | Gone:
    """Return the answer to a settlement or a release."""
    return Gone(_message(reply)) if reply.status in GONE else _read_ok(reply, SettlementResult)


def owner_url(reply: Reply) -> str | None:
    """Return where a misdirected call belongs; None: it was not misdirected."""
    return _read(reply, Misdirected).owner_url if reply.status == MISDIRECTED else None


def _read_ok(reply: Reply, kind: type[T]) -> T:
    if reply.status == OK:
        return _read(reply, kind)
    if reply.status >= 500 or reply.status == MISDIRECTED:
        raise UnavailableError(f"admitter {reply.url} cannot do it now: {reply.status}")
    raise _rejected(reply)


def _read(reply: Reply, kind: type[T]) -> T:
    try:
        return decode(reply.body, kind)
    except MalformedEventError as error:
        text = f"admitter {reply.url} answered {reply.status} with no {kind.__name__}: {error}"
        raise UnavailableError(text) from error


def _rejected(reply: Reply) -> TokenpoolsError:
    if reply.status >= 500:
        return UnavailableError(f"admitter {reply.url} answered {reply.status}")
    return RejectedRequestError(reply.status, _message(reply))


def _message(reply: Reply) -> str:
    try:
        error = decode(reply.body, ErrorBody)
    except MalformedEventError:
        return reply.body[:200].decode(errors="replace")
    return f"{error.field}: {error.message}" if error.field else error.message
