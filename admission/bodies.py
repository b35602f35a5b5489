"""Bodies: JSON from a gateway in, a checked value out, or what is wrong with it and in which field.

400: not JSON.  422: JSON that does not say what it must.  Numbers and texts are bounded here, so
that nothing behind has to ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from schemas.reservations import RenewBody, ReserveBody, SettleBody

TOKENS_MAX: Final = 100_000_000
CHOICES_MAX: Final = 128
TEXT_CHARS_MAX: Final = 256
TICKET_CHARS_MAX: Final = 2_048
OUTCOME_CHARS_MAX: Final = 64

Body = TypeVar("Body", ReserveBody, RenewBody, SettleBody)
_FIELD: Final = re.compile(r" - at `\$\.?([^`]*)`")
_RESERVE: Final = msgspec.json.Decoder(ReserveBody)
_RENEW: Final = msgspec.json.Decoder(RenewBody)
_SETTLE: Final = msgspec.json.Decoder(SettleBody)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a body is not acceptable."""

    status: int
    message: str
    field: str = ""


def reserve_body(raw: bytes) -> ReserveBody | Problem:
    """Return what a gateway asks for."""
    body = _decode(_RESERVE, raw)
    if not isinstance(body, ReserveBody):
        return body
    texts = ("pool", "entitlement", "model", "request_id")
    return (
        _first_too_long(body, texts, TEXT_CHARS_MAX)
        or _first_too_long(body, ("ticket",), TICKET_CHARS_MAX)
        or _first_outside(body, ("input_tokens", "cached_input_tokens"), low=0, high=TOKENS_MAX)
        or _first_outside(body, ("n",), low=1, high=CHOICES_MAX)
        or _max_tokens_problem(body)
        or body
    )


def renew_body(raw: bytes) -> RenewBody | Problem:
    """Return what a gateway says while a request runs; it may say nothing."""
    body = _decode(_RENEW, raw or b"{}")
    if not isinstance(body, RenewBody):
        return body
    return _first_outside(body, ("output_tokens",), low=0, high=TOKENS_MAX) or body


def settle_body(raw: bytes) -> SettleBody | Problem:
    """Return what was used."""
    body = _decode(_SETTLE, raw)
    if not isinstance(body, SettleBody):
        return body
    amounts = (
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
    )
    problem = _first_outside(body, amounts, low=0, high=TOKENS_MAX)
    if problem is None and body.reasoning_tokens > body.output_tokens:
        problem = Problem(422, "is part of output_tokens and exceeds it", "reasoning_tokens")
    return (
        problem
        or _first_too_long(body, ("outcome",), OUTCOME_CHARS_MAX)
        or _first_too_long(body, ("source",), TEXT_CHARS_MAX)
        or body
    )


def _decode(decoder: msgspec.json.Decoder[Body], raw: bytes) -> Body | Problem:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        return Problem(422, _FIELD.sub("", str(error)), found[1] if found else "")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Problem(400, f"the body is not JSON: {error}")


def _max_tokens_problem(body: ReserveBody) -> Problem | None:
    if body.cached_input_tokens > body.input_tokens:
        return Problem(422, "is part of input_tokens and exceeds it", "cached_input_tokens")
    if body.max_tokens is None or 1 <= body.max_tokens <= TOKENS_MAX:
        return None
    return Problem(422, f"must be between 1 and {TOKENS_MAX}", "max_tokens")


def _first_outside(
    body: msgspec.Struct, names: tuple[str, ...], *, low: int, high: int
) -> Problem | None:
    for name in names:
        if not low <= getattr(body, name) <= high:
            return Problem(422, f"must be between {low} and {high}", name)
    return None


def _first_too_long(body: msgspec.Struct, names: tuple[str, ...], chars_max: int) -> Problem | None:
    for name in names:
        if len(getattr(body, name)) > chars_max:
            return Problem(422, f"must have at most {chars_max} characters", name)
    return None
