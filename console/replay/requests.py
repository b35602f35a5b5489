"""Requests: the life of one simulated request, from a client that is polite.

Asked for once; if refused, again when ``Retry-After`` has passed, with the ticket, a bounded
number of times.  Admitted: it runs on the model server until it is done, evicted or the replay is
stopped.  Either way exactly one ``request`` line is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from admission.gateways.answers import Refused, RejectedRequestError
from admission.gateways.client import GatewayClient
from admission.gateways.reservation import ActiveReservation, EvictedError
from console.replay.clock import NowUs
from console.replay.model_server import ModelServer
from console.replay.plan import ReplayPlan, max_tokens_for
from console.replay.record import Recorder, RequestLine
from console.replay.running import Running
from console.replay.stats import ReplayStats
from schemas.decisions import RefusalReason
from schemas.errors import UnavailableError
from schemas.pools import Pool
from schemas.reservations import ReserveBody
from schemas.units import MS_PER_S
from simulation.arrivals import Arrival

UNREACHABLE: Final = "unreachable"
"""No admitter answered; not an admitter's reason, but it is counted beside them."""
REJECTED: Final = "rejected"
"""An admitter said that the request is wrong."""
UNREACHABLE_WAIT_MS: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Request:
    """One arrival with the entitlement that it is charged to."""

    number: int
    arrival: Arrival
    pool: Pool
    uid: str
    arrived_us: int


@dataclass(kw_only=True)
class _Trail:
    """What has become of a request so far."""

    request: Request
    outcome: str = "aborted"
    attempts: int = 0
    output_tokens: int = 0
    requested_us: int | None = None
    first_token_us: int | None = None
    completed_us: int | None = None

    def line(self) -> RequestLine:
        request = self.request
        return RequestLine(
            number=request.number,
            offset_us=request.arrival.offset_us,
            pool=request.pool.name,
            entitlement=request.uid,
            outcome=self.outcome,
            attempts=self.attempts,
            input_tokens=request.arrival.input_tokens,
            output_tokens=self.output_tokens,
            arrived_us=request.arrived_us,
            requested_us=self.requested_us,
            first_token_us=self.first_token_us,
            completed_us=self.completed_us,
        )


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Serves requests; ``client`` is None in a replay without admission control."""

    plan: ReplayPlan
    client: GatewayClient | None
    servers: Mapping[str, ModelServer]
    recorder: Recorder
    stats: ReplayStats
    now_us: NowUs
    attributes: Mapping[str, str] = field(default_factory=dict)

    async def handle(self, request: Request) -> None:
        """Bring one request to its end and record it, also when the replay is stopped."""
        trail = _Trail(request=request)
        try:
            await self._until_over(request, trail)
        finally:
            self.recorder.write(trail.line())

    def not_sent(self, request: Request) -> None:
        """Record a request that is beyond the bound on requests in flight."""
        self.recorder.write(_Trail(request=request, outcome="not_sent").line())

    async def _until_over(self, request: Request, trail: _Trail) -> None:
        ticket = ""
        while (refused := await self._attempt(request, trail, ticket=ticket)) is not None:
            self.stats.refused(request.uid, refused.reason, first=trail.attempts == 1)
            if self._gives_up(refused, attempts=trail.attempts):
                trail.outcome = f"lost:{refused.reason}"
                self.stats.lost(request.uid, refused.reason)
                return
            ticket = refused.ticket or ticket
            await self._wait(request, refused.retry_after_ms)

    def _gives_up(self, refused: Refused, *, attempts: int) -> bool:
        limits = self.plan.limits
        is_hopeless = refused.reason in (RefusalReason.IMPOSSIBLE, REJECTED)
        is_long = refused.retry_after_ms > limits.retry_wait_ms_max
        return is_hopeless or is_long or attempts > limits.retries_max

    async def _wait(self, request: Request, wait_ms: int) -> None:
        self.stats.retrying(request.uid, 1)
        try:
            await asyncio.sleep(wait_ms / MS_PER_S)
        finally:
            self.stats.retrying(request.uid, -1)

    async def _attempt(self, request: Request, trail: _Trail, *, ticket: str) -> Refused | None:
        """Ask once and, if admitted, serve; return the refusal if there is one."""
        trail.attempts += 1
        trail.requested_us = self.now_us()
        if self.client is None:
            await self._serve(request, trail, None)
            return None
        active: ActiveReservation | None = None
        try:
            async with self.client.reserve(
                self._body(request, ticket), attributes=self.attributes
            ) as answer:
                if isinstance(answer, Refused):
                    return answer
                active = answer
                await self._serve(request, trail, active)
        except EvictedError:
            trail.outcome = "evicted"  # it stops by itself, unless the replayer was held up
        except UnavailableError:
            return Refused(reason=UNREACHABLE, retry_after_ms=UNREACHABLE_WAIT_MS)
        except RejectedRequestError as error:
            return Refused(reason=REJECTED, message=str(error))
        self.stats.settled(reached=active is not None and active.settlement is not None)
        return None

    def _body(self, request: Request, ticket: str) -> ReserveBody:
        return ReserveBody(
            pool=request.pool.name,
            entitlement=request.uid,
            model=request.pool.model,
            request_id=f"{self.plan.run_id}/{request.number}",
            input_tokens=request.arrival.input_tokens,
            max_tokens=max_tokens_for(request.arrival.output_tokens),
            allow_demotion=request.uid in self.plan.demotion,
            ticket=ticket,
        )

    async def _serve(
        self, request: Request, trail: _Trail, active: ActiveReservation | None
    ) -> None:
        """Run the request on its pool's model server."""
        requested_us = trail.requested_us or request.arrived_us
        server = self.servers[request.pool.name]
        running = Running(server, request.arrival, active, now_us=self.now_us)
        self.stats.admitted(request.uid, demoted=active is not None and active.granted.demoted)
        try:
            trail.outcome = await running.until_over(
                lambda at_us: self.stats.first_token(request.uid, at_us - requested_us)
            )
        finally:
            trail.first_token_us = running.first_token_us
            trail.output_tokens = running.counts.output_tokens
            trail.completed_us = self.now_us()
            self.stats.ended(request.uid, trail.outcome)
