"""An admitter for tests: real HTTP on loopback, answers as it is told, remembers what it was told.

It admits unless told otherwise.  It is not our admitter and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from schemas.reservations import (
    ErrorBody,
    Misdirected,
    Refusal,
    RefusalBody,
    Renewal,
    RenewBody,
    Reservation,
    ReserveBody,
    SettleBody,
    SettlementResult,
)
from schemas.specs import ServiceClass
from schemas.wire import decode, encode


class FakeAdmitter:
    """``async with FakeAdmitter() as admitter``; ``admitter.url`` is where it is."""

    def __init__(self, *, renew_in_ms: int = 0, expires_in_ms: int = 15_000) -> None:
        self.refusals: deque[tuple[int, Refusal]] = deque()
        """(status, refusal) for the next requests; then it admits."""
        self.asked: list[tuple[ReserveBody, str | None]] = []
        """Bodies with their Idempotency-Key."""
        self.authorization: list[str | None] = []
        self.owner_url = ""
        """Answer renewals and settlements with 421 and this URL."""
        self.adopts_as = ""
        """Answer renewals as the adopter, with this new id."""
        self.evicts = False
        self.evict_in_ms = 500
        self.hangs_up = False
        """Settles and closes the connection without an answer."""
        self.gone = False
        self.broken = False
        """Answer everything with 500."""
        self.settled: list[tuple[str, SettleBody]] = []
        self.released: list[str] = []
        self.renewed: list[tuple[str, RenewBody]] = []
        self._renewal = asyncio.Condition()
        self._renew_in_ms = renew_in_ms
        self._expires_in_ms = expires_in_ms
        self._server: TestServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return str(self._server.make_url("")).rstrip("/")

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._refuse_when_broken])
        app.router.add_post("/v1/reservations", self._reserve)
        app.router.add_post("/v1/reservations/{id}/renewal", self._renew)
        app.router.add_post("/v1/reservations/{id}/settlement", self._settle)
        app.router.add_delete("/v1/reservations/{id}", self._release)
        self._server = TestServer(app, host="127.0.0.1")
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    async def until_renewed(self, times: int = 1) -> None:
        """Return when so many renewals were answered."""
        async with self._renewal:
            await self._renewal.wait_for(lambda: len(self.renewed) >= times)

    async def die(self) -> None:
        """Close the port."""
        assert self._server is not None
        await self._server.close()

    @web.middleware
    async def _refuse_when_broken(
        self, request: web.Request, handler: object
    ) -> web.StreamResponse:
        if self.broken:
            return web.Response(status=500, text="broken")
        response: web.StreamResponse = await handler(request)  # type: ignore[operator]  # aiohttp
        return response

    async def _reserve(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), ReserveBody)
        self.asked.append((body, request.headers.get("Idempotency-Key")))
        self.authorization.append(request.headers.get("Authorization"))
        if self.refusals:
            status, refusal = self.refusals.popleft()
            return _json(status, RefusalBody(error=refusal))
        if not body.pool:
            return _json(422, ErrorBody(message="is missing", field="pool"))
        return _json(201, self._reservation(body))

    def _reservation(self, body: ReserveBody) -> Reservation:
        return Reservation(
            reservation_id=f"v1.r{len(self.asked)}.sig",
            pool=body.pool,
            entitlement=body.entitlement,
            tenant="acme",
            model="sim",
            service_class=ServiceClass.ELASTIC,
            served_class=ServiceClass.ELASTIC,
            reserved_tokens=body.input_tokens,
            kv_bytes=1,
            slots=1,
            max_tokens=body.max_tokens or 100,
            renew_in_ms=self._renew_in_ms,
            expires_in_ms=self._expires_in_ms,
            admitter_url=self.url,
        )

    async def _renew(self, request: web.Request) -> web.Response:
        if self.owner_url:
            return self._misdirected()
        if self.gone:
            return _json(404, ErrorBody(message="expired", code="expired"))
        old = request.match_info["id"]
        self.renewed.append((old, decode(await request.read(), RenewBody)))
        async with self._renewal:
            self._renewal.notify_all()
        return _json(
            200,
            Renewal(
                verdict="evict" if self.evicts else "continue",
                reservation_id=self.adopts_as or old,
                adopted=bool(self.adopts_as) and old != self.adopts_as,
                renew_in_ms=self._renew_in_ms,
                expires_in_ms=self._expires_in_ms,
                evict_in_ms=self.evict_in_ms if self.evicts else 0,
                admitter_url=self.url,
            ),
        )

    async def _settle(self, request: web.Request) -> web.Response:
        if self.owner_url:
            return self._misdirected()
        settled = request.match_info["id"]
        self.settled.append((settled, decode(await request.read(), SettleBody)))
        if self.hangs_up:
            assert request.transport is not None
            request.transport.close()
        return _json(200, SettlementResult(reservation_id=settled, first=True, ended="settled"))

    async def _release(self, request: web.Request) -> web.Response:
        released = request.match_info["id"]
        self.released.append(released)
        return _json(200, SettlementResult(reservation_id=released, first=True, ended="released"))

    def _misdirected(self) -> web.Response:
        return _json(421, Misdirected(message="elsewhere", owner_url=self.owner_url))


def _json(status: int, body: msgspec.Struct) -> web.Response:
    return web.Response(status=status, body=encode(body), content_type="application/json")
