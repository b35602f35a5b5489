"""Replies: an answer of the gate as status, headers and body.

201 admitted, 200 renewed or ended; 429 refused (503 without state, 400 impossible), 421 another
admitter's, 404 unknown.  ``Retry-After`` is whole seconds rounded up, ``retry-after-ms`` exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from admission.bodies import Problem
from admission.core.answers import (
    Admitted,
    AdmittedDemoted,
    Closed,
    Elsewhere,
    EndAnswer,
    NotYet,
    Refused,
    RenewAnswer,
    Renewed,
    ReserveAnswer,
    Unknown,
)
from schemas.decisions import RefusalReason
from schemas.reservations import ErrorBody, Misdirected, Refusal, RefusalBody
from schemas.units import MS_PER_S, ceil_div

START_RETRY_MS: Final = 1_000
"""When to come back while the admitter is starting."""
_STATUS = {RefusalReason.NO_STATE.value: 503, RefusalReason.IMPOSSIBLE.value: 400}
_CODES = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    413: "too_large",
    422: "invalid",
    503: RefusalReason.NO_STATE.value,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over HTTP."""

    status: int
    body: msgspec.Struct
    headers: dict[str, str] = field(default_factory=dict)


def reply_to_reserve(answer: ReserveAnswer) -> Reply:
    """Return the reply to ``POST /v1/reservations``."""
    match answer:
        case Admitted(reservation) | AdmittedDemoted(reservation):
            return Reply(201, reservation)
        case Refused(refusal):
            status = _STATUS.get(refusal.reason, 429)
            return Reply(status, RefusalBody(error=refusal), _refusal_headers(refusal))


def reply_to_call(answer: RenewAnswer | EndAnswer) -> Reply:
    """Return the reply to a renewal, a settlement or a release."""
    match answer:
        case Renewed(renewal):
            return Reply(200, renewal)
        case Closed(result):
            return Reply(200, result)
        case Elsewhere(owner_url, message):
            return Reply(421, Misdirected(message=message, owner_url=owner_url))
        case Unknown(message):
            return reply_to_problem(Problem(404, message))
        case NotYet(retry_after_ms, message):
            reply = reply_to_problem(Problem(503, message))
            return Reply(reply.status, reply.body, _retry_headers(retry_after_ms))


def reply_before_pools() -> Reply:
    """Return the reply to every call before ``pools`` was read: nobody is known yet."""
    refusal = Refusal(
        message="this admitter has not read the topic pools yet",
        code=RefusalReason.NO_STATE,
        reason=RefusalReason.NO_STATE,
        retry_after_ms=START_RETRY_MS,
    )
    return Reply(503, RefusalBody(error=refusal), _refusal_headers(refusal))


def reply_to_problem(problem: Problem) -> Reply:
    """Return the reply to a call that could not be understood or is not allowed."""
    body = ErrorBody(message=problem.message, field=problem.field, code=_CODES[problem.status])
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    return Reply(problem.status, body, headers)


def _refusal_headers(refusal: Refusal) -> dict[str, str]:
    headers = {"X-Refusal-Reason": refusal.reason}
    if refusal.retry_after_ms:
        headers |= _retry_headers(refusal.retry_after_ms)
    if refusal.ticket:
        headers["x-tokenpools-ticket"] = refusal.ticket
    if refusal.home_url:
        headers["x-tokenpools-home"] = refusal.home_url
    return headers


def _retry_headers(retry_after_ms: int) -> dict[str, str]:
    return {
        "Retry-After": str(ceil_div(retry_after_ms, MS_PER_S)),
        "retry-after-ms": str(retry_after_ms),
    }
