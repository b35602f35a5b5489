"""Reservation: one admitted request on its way from start to settlement.

While the body runs, the reservation is renewed and, when it lasts, increments are emitted.  At
the end it is settled (or released, if nothing began) and the final event is emitted, which
happens also when the settlement reached nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from admission.gateways.answers import Gone, RejectedRequestError
from admission.gateways.api import AdmissionApi
from admission.gateways.emitter import Emitter
from admission.gateways.http import UnansweredError
from admission.gateways.limits import GatewayLimits
from admission.gateways.meter import Meter
from schemas.errors import TokenpoolsError, UnavailableError
from schemas.reservations import Renewal, Reservation, SettleBody, SettlementResult
from schemas.units import MS_PER_S, US_PER_MS, TokenCounts

NowUs = Callable[[], int]
"""Microseconds since 1970."""


class EvictedError(TokenpoolsError):
    """The request had to make room for others and did not stop by itself in time."""

    def __init__(self, reservation_id: str) -> None:
        super().__init__(f"reservation {reservation_id} had to make room for others")
        self.reservation_id = reservation_id


class ActiveReservation:
    """What the body of a request works with; ``GatewayClient.reserve`` makes and ends it."""

    def __init__(
        self,
        reservation: Reservation,
        *,
        api: AdmissionApi,
        emitter: Emitter,
        meter: Meter,
        limits: GatewayLimits,
        now_us: NowUs,
        source: str = "",
    ) -> None:
        """``source``: under which the usage is emitted; the settlement names it."""
        self.granted = reservation
        self.reservation_id = reservation.reservation_id
        self.admitter_url = reservation.admitter_url
        self.outcome = "ok"
        """Of the final event; an exception in the body makes ``ok`` ``aborted``."""
        self.evicted = asyncio.Event()
        """Set when the admitter wants the request to stop, within ``evict_in_ms``."""
        self.evict_in_ms = 0
        self.evict_reason = ""
        """A ``schemas.decisions.EvictionReason``."""
        self.adopted = 0
        """How often another admitter took the reservation over."""
        self.lost = asyncio.Event()
        """Set when the reservation ran out or was forgotten; usage is charged all the same."""
        self.settlement: SettlementResult | Gone | None = None
        """None: it is not settled, or the settlement reached nobody."""
        self._api = api
        self._emitter = emitter
        self._meter = meter
        self._limits = limits
        self._now_us = now_us
        self._source = source
        self._observed: Callable[[], TokenCounts] | None = None
        self._expires_us = now_us() + reservation.expires_in_ms * US_PER_MS
        self._may_be_settled = False
        self._end_body_at: Callable[[float], None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def began(self, at_us: int | None = None) -> None:
        """Say that the engine took the request (now, unless a time is given)."""
        self._meter.began(self._now_us() if at_us is None else at_us)

    def first_token(self, at_us: int | None = None) -> None:
        """Say that the first token came."""
        self._meter.first_token(self._now_us() if at_us is None else at_us)

    def report(self, counts: TokenCounts) -> None:
        """Set what was used so far (cumulative)."""
        self._meter.report(counts)

    def observe(self, counts: Callable[[], TokenCounts]) -> None:
        """Ask this function for the cumulative counts whenever they are needed."""
        self._observed = counts

    def on_eviction(self, end_body_at: Callable[[float], None]) -> None:
        """Call this with the event loop's time by which the body must have ended."""
        self._end_body_at = end_body_at

    def open(self) -> None:
        """Begin to renew and to meter in the background."""
        if self.granted.renew_in_ms:
            self._tasks.append(asyncio.create_task(self._keep_alive(), name="renew"))
        self._tasks.append(asyncio.create_task(self._emit_partials(), name="meter"))

    async def close(self) -> None:
        """Settle and emit the final event; called once, whatever happened."""
        ended_us = self._now_us()
        try:
            self._look()
            await self._stop_tasks()
            await self._end()
        finally:
            await self._emit_final(ended_us)
        await self._end_at_last()

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def _look(self) -> None:
        if self._observed is not None:
            self._meter.report(self._observed())

    async def _keep_alive(self) -> None:
        """Renew until the body ends; give up when the reservation has run out."""
        wait_ms = self.granted.renew_in_ms
        while wait_ms:
            await asyncio.sleep(wait_ms / MS_PER_S)
            answer = await self._renew()
            if isinstance(answer, Renewal):
                self._renewed(answer)
                wait_ms = answer.renew_in_ms
                continue
            wait_ms = self._limits.renew_retry_ms
            if isinstance(answer, Gone) or self._now_us() >= self._expires_us:
                self.lost.set()
                return

    async def _renew(self) -> Renewal | Gone | None:
        """Return the answer; None when nobody can give one now."""
        self._look()
        try:
            return await self._api.renew(
                self.reservation_id,
                url=self.admitter_url,
                output_tokens=self._meter.counts.output_tokens,
            )
        except UnavailableError:
            return None

    def _renewed(self, renewal: Renewal) -> None:
        self._expires_us = self._now_us() + renewal.expires_in_ms * US_PER_MS
        self.reservation_id = renewal.reservation_id
        self.admitter_url = renewal.admitter_url or self.admitter_url
        self.adopted += renewal.adopted
        if renewal.verdict == "evict" and not self.evicted.is_set():
            self._evict(renewal)

    def _evict(self, renewal: Renewal) -> None:
        self.evict_in_ms = renewal.evict_in_ms
        self.evict_reason = renewal.evict_reason
        self.evicted.set()
        margin_ms = min(self._limits.evict_margin_ms, renewal.evict_in_ms // 4)
        if self._end_body_at is not None:
            now_s = asyncio.get_running_loop().time()
            self._end_body_at(now_s + (renewal.evict_in_ms - margin_ms) / MS_PER_S)

    async def _emit_partials(self) -> None:
        while True:
            await asyncio.sleep(self._limits.partial_ms / MS_PER_S)
            await self._emitter.place()
            self._look()
            increment = self._meter.partial(self._now_us())
            if increment is None:
                self._emitter.give_back()
            else:
                self._emitter.submit(increment)

    async def _emit_final(self, ended_us: int) -> None:
        """Emit the last increment, unless nothing ever began."""
        if not self._meter.has_begun:
            return
        await self._emitter.place()
        self._emitter.submit(self._meter.final(ended_us, outcome=self.outcome))

    async def _end(self) -> None:
        """Settle or release once; nobody may be there to hear it."""
        try:
            self.settlement = await self._ending()
        except UnavailableError as error:
            self.settlement = None
            self._may_be_settled |= isinstance(error, UnansweredError)
        except RejectedRequestError as error:
            self.settlement = Gone(str(error))

    async def _end_at_last(self) -> None:
        """Try again what reached nobody, while a dead owner's home may be taking it over."""
        for attempt in range(1, self._limits.settle_attempts_max):
            if self.settlement is not None:
                return
            await asyncio.sleep(self._limits.renew_retry_ms * attempt / MS_PER_S)
            await self._end()

    def _ending(self) -> Awaitable[SettlementResult | Gone]:
        if not self._meter.has_begun:
            return self._api.release(self.reservation_id, url=self.admitter_url)
        counts = self._meter.counts
        body = SettleBody(
            input_tokens=counts.input_tokens,
            cache_read_tokens=counts.cache_read_tokens,
            cache_write_tokens=counts.cache_write_tokens,
            output_tokens=counts.output_tokens,
            reasoning_tokens=counts.reasoning_tokens,
            outcome=self.outcome,
            source=self._source,
            repeated=self._may_be_settled,
        )
        return self._api.settle(self.reservation_id, url=self.admitter_url, body=body)
