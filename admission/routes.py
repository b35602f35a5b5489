"""The routes: HTTP in, one call of the gate, HTTP out; nothing is decided here.

They are plain Starlette routes of the FastAPI app: an ordinary FastAPI route costs more than the
decision it carries.  ``admission.openapi`` documents them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from admission.admitter import Admitter
from admission.bodies import TEXT_CHARS_MAX, Problem, renew_body, reserve_body, settle_body
from admission.identity import addressed, may_touch, visible
from admission.metrics import CONTENT_TYPE
from admission.overview import overview_of
from admission.replies import (
    Reply,
    reply_before_pools,
    reply_to_call,
    reply_to_problem,
    reply_to_reserve,
)
from schemas.reservations import ErrorBody, ReserveBody
from schemas.wire import encode

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Routes:
    """The endpoints of one admitter."""

    admitter: Admitter
    body_bytes_max: int
    exposition: Callable[[], bytes]
    """The metrics as text."""

    async def reserve(self, request: Request) -> Response:
        """``POST /v1/reservations``."""
        body = await self._asked(request)
        if isinstance(body, Reply):
            return _respond(body)
        gate = self.admitter.gate
        return _respond(reply_to_reserve(gate.reserve(body, now=self.admitter.clock())))

    async def renew(self, request: Request) -> Response:
        """``POST /v1/reservations/{id}/renewal``."""
        raw = await self._call(request)
        body = raw if isinstance(raw, Reply) else _or_reply(renew_body(raw))
        if isinstance(body, Reply):
            return _respond(body)
        answer = self.admitter.gate.renew(
            request.path_params["id"], output_tokens=body.output_tokens, now=self.admitter.clock()
        )
        return _respond(reply_to_call(answer))

    async def settle(self, request: Request) -> Response:
        """``POST /v1/reservations/{id}/settlement``."""
        raw = await self._call(request)
        body = raw if isinstance(raw, Reply) else _or_reply(settle_body(raw))
        if isinstance(body, Reply):
            return _respond(body)
        answer = self.admitter.gate.settle(
            request.path_params["id"], body, now=self.admitter.clock()
        )
        return _respond(reply_to_call(answer))

    async def release(self, request: Request) -> Response:
        """``DELETE /v1/reservations/{id}``."""
        raw = await self._call(request)
        if isinstance(raw, Reply):
            return _respond(raw)
        answer = self.admitter.gate.release(request.path_params["id"], now=self.admitter.clock())
        return _respond(reply_to_call(answer))

    async def pools(self, request: Request) -> Response:
        """``GET /v1/pools``."""
        only = visible(_authorization(request), self.admitter)
        if isinstance(only, Problem):
            return _respond(reply_to_problem(only))
        now_us = self.admitter.clock().mono_us
        return _respond(Reply(200, overview_of(self.admitter.gate, only=only, now_us=now_us)))

    async def healthz(self, _request: Request) -> Response:
        """``GET /healthz``: the process answers."""
        return _respond(Reply(200, ErrorBody(message="ok", code="ok")))

    async def readyz(self, _request: Request) -> Response:
        """``GET /readyz``: 200 when requests can be served, else 503 and what is missing."""
        missing = self.admitter.unready()
        if missing:
            return _respond(Reply(503, ErrorBody(message="; ".join(missing), code="not_ready")))
        return _respond(Reply(200, ErrorBody(message="ready", code="ok")))

    async def metrics(self, _request: Request) -> Response:
        """``GET /metrics``."""
        return Response(self.exposition(), media_type=CONTENT_TYPE)

    async def _asked(self, request: Request) -> ReserveBody | Reply:
        """Return what is asked for, with the pool and the entitlement that it is for."""
        raw = await self._body(request)
        body = raw if isinstance(raw, Problem) else reserve_body(raw)
        if isinstance(body, Problem):
            return reply_to_problem(body)
        if not self.admitter.pools_read:
            return reply_before_pools()
        key = request.headers.get("idempotency-key", "")
        body = replace(body, request_id=key[:TEXT_CHARS_MAX]) if key else body
        return _or_reply(addressed(body, _authorization(request), self.admitter))

    async def _call(self, request: Request) -> bytes | Reply:
        """Return the body of a call about a reservation that the caller may touch."""
        raw = await self._body(request)
        if not self.admitter.pools_read:
            return reply_before_pools()
        problem = may_touch(request.path_params["id"], _authorization(request), self.admitter)
        return _or_reply(problem or raw)

    async def _body(self, request: Request) -> bytes | Problem:
        """Return the body, read no further than its bound."""
        too_large = Problem(413, f"the body has more than {self.body_bytes_max} bytes")
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.body_bytes_max:
            return too_large
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.body_bytes_max:
                return too_large
        return body


def _authorization(request: Request) -> str:
    return request.headers.get("authorization", "")


def _or_reply(value: Value | Problem) -> Value | Reply:
    return reply_to_problem(value) if isinstance(value, Problem) else value


def _respond(reply: Reply) -> Response:
    return Response(
        encode(reply.body),
        status_code=reply.status,
        headers=reply.headers,
        media_type="application/json",
    )
