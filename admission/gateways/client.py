"""Client: what a gateway does for one request: reserve, run, renew, settle, emit.

    async with client.reserve(ReserveBody(...)) as answer:
        if isinstance(answer, Refused):
            return too_many_requests(answer)
        answer.began()
        ...
        answer.report(TokenCounts(input_tokens=..., output_tokens=...))

A refusal is a value.  ``UnavailableError``: no admitter answered.  ``RejectedRequestError``: the
request itself is wrong.  A request that has to make room for others should stop by itself when
``evicted`` is set, with ``outcome = "evicted"``; shortly before its grace is over the body is
cancelled and ``EvictedError`` raised.  Either way it is settled with what was reported until then.
The client is used in one event loop, and closed at the end.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from admission.gateways.answers import Refused
from admission.gateways.api import AdmissionApi
from admission.gateways.emitter import DeliveryListener, Emitter
from admission.gateways.http import AdmitterHttp
from admission.gateways.lane import Transport
from admission.gateways.limits import GatewayLimits
from admission.gateways.meter import Meter
from admission.gateways.reservation import ActiveReservation, EvictedError, NowUs
from admission.gateways.routing import Admitters
from schemas.reservations import Reservation, ReserveBody

DEFAULT_LIMITS = GatewayLimits()


def wall_us() -> int:
    """Return the wall clock in microseconds since 1970."""
    return time.time_ns() // 1_000


class GatewayClient:
    """One gateway's connection to the admitters and to the topic ``usage``."""

    def __init__(
        self,
        urls: Sequence[str],
        transport: Transport,
        *,
        source: str,
        api_key: str | None = None,
        limits: GatewayLimits = DEFAULT_LIMITS,
        listener: DeliveryListener | None = None,
        now_us: NowUs = wall_us,
    ) -> None:
        """``source`` names the gateway; a suffix of this process's own is added to it."""
        self.source = f"{source}/{secrets.token_hex(6)}"
        self.emitter = Emitter(transport, source=self.source, limits=limits, listener=listener)
        self._http = AdmitterHttp(limits, api_key=api_key)
        admitters = Admitters(urls, suspect_ms=limits.suspect_ms)
        self._api = AdmissionApi(self._http, admitters, limits)
        self._limits = limits
        self._now_us = now_us

    async def __aenter__(self) -> Self:
        await self._http.start()
        try:
            await self.emitter.start()
        except BaseException:
            await self._http.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.emitter.stop()
        finally:
            await self._http.stop()

    @asynccontextmanager
    async def reserve(
        self, body: ReserveBody, *, attributes: Mapping[str, str] | None = None
    ) -> AsyncIterator[ActiveReservation | Refused]:
        """Reserve, hand the reservation to the body, and end it whatever the body does."""
        requested_us = self._now_us()
        answer = await self._api.reserve(body)
        if isinstance(answer, Refused):
            yield answer
            return
        active = self._active(answer, requested_us=requested_us, attributes=dict(attributes or {}))
        active.open()
        try:
            async with asyncio.timeout(None) as body_ends:
                active.on_eviction(body_ends.reschedule)
                yield active
        except BaseException as error:
            evicted = isinstance(error, TimeoutError) and body_ends.expired()
            if active.outcome == "ok":
                active.outcome = "evicted" if evicted else "aborted"
            if evicted:
                raise EvictedError(active.reservation_id) from None
            raise
        finally:
            await active.close()

    def _active(
        self, reservation: Reservation, *, requested_us: int, attributes: dict[str, str]
    ) -> ActiveReservation:
        return ActiveReservation(
            reservation,
            api=self._api,
            emitter=self.emitter,
            meter=Meter(reservation, requested_us=requested_us, attributes=attributes),
            limits=self._limits,
            now_us=self._now_us,
            source=self.source,
        )
