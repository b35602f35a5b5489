"""The routes: HTTP in, one call of the gate, HTTP out; nothing is decided here.

They are plain Starlette routes of the FastAPI app: an ordinary FastAPI route costs more than the
decision it carries.  ``admission.openapi`` documents them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from admission.admitter import Admitter
from admission.bodies import Problem, renew_body, reserve_body, settle_body
from admission.identity import addressed, may_touch, visible
from admission.metrics import CONTENT_TYPE
from admission.overview import overview_of
from admission.replies import Reply, reply_to_call, reply_to_problem, reply_to_reserve
from schemas.reservations import ErrorBody
from schemas.wire import encode


@dataclass(frozen=True, slots=True)
class Routes:
    """The endpoints of one admitter."""

    admitter: Admitter
    body_bytes_max: int
    exposition: Callable[[], bytes]
    """The metrics as text."""

    async def reserve(self, request: Request) -> Response:
        """``POST /v1/reservations``."""
        raw = await self._body(request)
        body = raw if isinstance(raw, Problem) else reserve_body(raw)
        if not isinstance(body, Problem):
            key = request.headers.get("idempotency-key", "")
            body = replace(body, request_id=key[:256]) if key else body
            body = addressed(body, _authorization(request), self.admitter)
        if isinstance(body, Problem):
            return _respond(reply_to_problem(body))
        gate = self.admitter.gate
        return _respond(reply_to_reserve(gate.reserve(body, now=self.admitter.clock())))

    async def renew(self, request: Request) -> Response:
        """``POST /v1/reservations/{id}/renewal``."""
        found = await self._call(request)
        body = found if isinstance(found, Problem) else renew_body(found)
        if isinstance(body, Problem):
            return _respond(reply_to_problem(body))
        answer = self.admitter.gate.renew(
            request.path_params["id"], output_tokens=body.output_tokens, now=self.admitter.clock()
        )
        return _respond(reply_to_call(answer))

    async def settle(self, request: Request) -> Response:
        """``POST /v1/reservations/{id}/settlement``."""
        found = await self._call(request)
        body = found if isinstance(found, Problem) else settle_body(found)
        if isinstance(body, Problem):
            return _respond(reply_to_problem(body))
        answer = self.admitter.gate.settle(
            request.path_params["id"], body, now=self.admitter.clock()
        )
        return _respond(reply_to_call(answer))

    async def release(self, request: Request) -> Response:
        """``DELETE /v1/reservations/{id}``."""
        found = await self._call(request)
        if isinstance(found, Problem):
            return _respond(reply_to_problem(found))
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

    async def _call(self, request: Request) -> bytes | Problem:
        """Return the body of a call about a reservation that the caller may touch."""
        raw = await self._body(request)
        problem = may_touch(request.path_params["id"], _authorization(request), self.admitter)
        return problem or raw

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


def _respond(reply: Reply) -> Response:
    return Response(
        encode(reply.body),
        status_code=reply.status,
        headers=reply.headers,
        media_type="application/json",
    )
