"""Running: one admitted request on the model server, from its first moment to its last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from admission.gateways.reservation import ActiveReservation
from console.replay.clock import NowUs
from console.replay.model_server import ModelServer, Serving
from schemas.units import US_PER_S, TokenCounts
from simulation.arrivals import Arrival
from simulation.engine import Timing


class Running:
    """What happens to the request; ``active`` is None in a replay without admission control."""

    def __init__(
        self,
        server: ModelServer,
        arrival: Arrival,
        active: ActiveReservation | None,
        *,
        now_us: NowUs,
    ) -> None:
        self.first_token_us: int | None = None
        self._server = server
        self._active = active
        self._now_us = now_us
        self._serving: Serving = server.serve(arrival)
        if active is not None:
            active.observe(self._serving.counts)

    @property
    def counts(self) -> TokenCounts:
        """What it has used until now."""
        return self._serving.counts()

    async def until_over(self, on_first_token: Callable[[int], None]) -> str:
        """Return the outcome, ``ok`` or ``evicted``, once the request has ended."""
        eviction = asyncio.create_task(self._evicted(), name="eviction")
        try:
            return await self._stages(eviction, on_first_token)
        finally:
            eviction.cancel()
            self._server.stop_serving(self._serving)

    async def _stages(
        self, eviction: asyncio.Task[None], on_first_token: Callable[[int], None]
    ) -> str:
        if not await self._reached(self._serving.started, eviction):
            return self._ended("evicted")
        timing = self._serving.timing
        assert timing is not None
        if self._active is not None:
            self._active.began(timing.started_us)
        if not await self._past_first_token(timing, eviction):
            return self._ended("evicted")
        self._has_first_token(timing.first_token_us, on_first_token)
        done = await self._reached(self._serving.done, eviction)
        return self._ended("ok" if done else "evicted")

    async def _past_first_token(self, timing: Timing, eviction: asyncio.Task[None]) -> bool:
        wait_us = max(0, timing.first_token_us - self._now_us())
        await asyncio.wait(
            {self._serving.done, eviction},
            timeout=wait_us / US_PER_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        return self._serving.done.done() or self._now_us() >= timing.first_token_us

    async def _reached(self, stage: asyncio.Future[None], eviction: asyncio.Task[None]) -> bool:
        """Return whether the stage came, and no eviction before it."""
        await asyncio.wait({stage, eviction}, return_when=asyncio.FIRST_COMPLETED)
        return stage.done()

    async def _evicted(self) -> None:
        """Return when the admitter wants it to stop; never without one."""
        waited_for = asyncio.Event() if self._active is None else self._active.evicted
        await waited_for.wait()

    def _has_first_token(self, at_us: int, on_first_token: Callable[[int], None]) -> None:
        self.first_token_us = at_us
        on_first_token(at_us)
        if self._active is not None:
            self._active.first_token(at_us)

    def _ended(self, outcome: str) -> str:
        if self._active is not None:
            self._active.outcome = outcome
        return outcome
