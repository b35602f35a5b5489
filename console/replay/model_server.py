"""Model server: an engine model run by the wall clock, with futures for those who wait."""

from __future__ import annotations

import asyncio
from typing import Final

from console.replay.clock import NowUs
from schemas.units import NO_TOKENS, US_PER_S, TokenCounts
from simulation.arrivals import Arrival
from simulation.engine import Engine, Finished, Job, Started, Timing, produced

TURN_US_MAX: Final = 60 * US_PER_S
"""How long the server sleeps when nothing runs."""


class Serving:
    """One request inside the server."""

    def __init__(self, job: Job, *, now_us: NowUs) -> None:
        loop = asyncio.get_running_loop()
        self.job = job
        self.started: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.timing: Timing | None = None
        """Set before ``started``."""
        self._now_us = now_us
        self._final: TokenCounts | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has finished or was cancelled."""
        return self._final is not None

    def counts(self) -> TokenCounts:
        """Return what it has used until now: all input once it has started, output as it comes."""
        if self._final is not None:
            return self._final
        if self.timing is None:
            return NO_TOKENS
        return self._counted(produced(self.job, self.timing, now_us=self._now_us()))

    def start(self, timing: Timing) -> None:
        """Say that the engine has taken it."""
        self.timing = timing
        self.started.set_result(None)

    def finish(self, output_tokens: int) -> None:
        """Fix the counts for good."""
        self._final = NO_TOKENS if self.timing is None else self._counted(output_tokens)

    def _counted(self, output_tokens: int) -> TokenCounts:
        return TokenCounts(input_tokens=self.job.input_tokens, output_tokens=output_tokens)


class ModelServer:
    """Requests in, tokens out; ``run`` keeps it going until it is cancelled."""

    def __init__(self, engine: Engine, *, now_us: NowUs) -> None:
        self.engine = engine
        self._now_us = now_us
        self._serving: dict[int, Serving] = {}
        self._changed = asyncio.Event()
        self._last_id = 0

    def serve(self, arrival: Arrival) -> Serving:
        """Put a request into the queue."""
        self._last_id += 1
        job = Job(
            id=self._last_id,
            input_tokens=arrival.input_tokens,
            output_tokens=arrival.output_tokens,
        )
        serving = self._serving[job.id] = Serving(job, now_us=self._now_us)
        self.engine.submit(job, now_us=self._now_us())
        self._settle_events()
        return serving

    def stop_serving(self, serving: Serving) -> None:
        """Take a request out wherever it is; one that is over stays as it is."""
        self._settle_events()
        if serving.is_over:
            return
        progress = self.engine.cancel(serving.job.id, now_us=self._now_us())
        self._serving.pop(serving.job.id, None)
        serving.finish(progress.output_tokens)
        self._settle_events()

    def resize(self, ready: int) -> None:
        """Serve with this many replicas."""
        self.engine.resize(ready, now_us=self._now_us())
        self._settle_events()

    async def run(self) -> None:
        """Let time pass in the engine."""
        while True:
            self._settle_events()
            self._changed.clear()
            next_us = self.engine.next_event_us()
            wait_us = TURN_US_MAX if next_us is None else max(0, next_us - self._now_us())
            try:
                async with asyncio.timeout(wait_us / US_PER_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _settle_events(self) -> None:
        for event in self.engine.advance(now_us=self._now_us()):
            serving = self._serving.get(event.job.id)
            if serving is None:
                continue
            match event:
                case Started():
                    serving.start(event.timing)
                case Finished():
                    del self._serving[event.job.id]
                    serving.finish(event.job.output_tokens)
                    serving.done.set_result(None)
        self._changed.set()
