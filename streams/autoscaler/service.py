"""The autoscaler: demand of every pool into ``scale-decisions``, every few seconds.

One process is active, by group membership; the others follow and wait.  A decision says what it
looked at, and history stores it.  While ClickHouse is away the topic ``ticks`` stands in, which is
said once in the log and in every decision.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from functools import partial
from typing import Final

from schemas.errors import TokenpoolsError, UnavailableError
from schemas.partitioning import partition_of
from schemas.pools import Pool
from schemas.scaling import DemandSource, ScaleDecision, ScaleDirection
from schemas.topics import POOLS, SCALE_DECISIONS
from schemas.units import US_PER_MS
from schemas.wire import encode
from streams.autoscaler import metrics
from streams.autoscaler.evaluate import Looked, Span, evaluate, look, span_of
from streams.autoscaler.membership import Membership
from streams.autoscaler.settings import Settings
from streams.autoscaler.ticks import Clock, Pools, TickFeed
from streams.core.scaling import Memory
from streams.history.demand import Demand, DemandReader
from streams.kafka import Publisher
from streams.lifetime import run_until_signal
from streams.topic_logs import Follower

log = logging.getLogger(__name__)

LIBRARY_LEVELS: Final = {
    "aiokafka": logging.WARNING,
    "urllib3": logging.ERROR,  # an absent ClickHouse is said by us, once
    "clickhouse_connect": logging.ERROR,
}
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def now_us() -> int:
    """Return the wall clock in microseconds since 1970."""
    return time.time_ns() // 1_000


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for library, level in LIBRARY_LEVELS.items():
        logging.getLogger(library).setLevel(level)
    try:
        asyncio.run(_run(settings))
    except TokenpoolsError as error:
        log.error("the autoscaler stops: %s", error)
        return 1
    return 0


async def _run(settings: Settings) -> None:
    metrics.serve(host=settings.metrics_host, port=settings.metrics_port)
    await run_until_signal(partial(serve, settings))


async def serve(
    settings: Settings, stop: asyncio.Event, working: asyncio.Event | None = None
) -> None:
    """Decide every interval until ``stop`` is set; ``working`` is set when the broker answered."""
    pools = Pools()
    follower = Follower(settings.kafka, POOLS, handler=pools)
    feed = TickFeed(settings.kafka, pools, ticks_max=settings.ticks_max, clock=now_us)
    publisher = Publisher(settings.kafka, client_id="tokenpools-autoscaler")
    membership = Membership(settings.kafka, session_timeout_ms=settings.session_timeout_ms)
    try:
        await follower.start()
        await follower.caught_up()
        await feed.start()
        await publisher.start()
        await membership.start()
        autoscaler = Autoscaler(settings, pools, feed, publisher)
        if working is not None:
            working.set()
        await _loop(settings, stop, autoscaler, membership, follower)
    finally:
        for part in (membership, publisher, feed, follower):
            await part.stop()


async def _loop(
    settings: Settings,
    stop: asyncio.Event,
    autoscaler: Autoscaler,
    membership: Membership,
    follower: Follower,
) -> None:
    while not stop.is_set():
        if follower.task is not None and follower.task.done():
            follower.task.result()
        active = await membership.is_active()
        metrics.ACTIVE.set(int(active))
        if active:
            await autoscaler.evaluate_all()
        else:
            autoscaler.forget()
        await _pause(stop, settings.interval_ms)
    autoscaler.close()


async def _pause(stop: asyncio.Event, pause_ms: int) -> None:
    try:
        async with asyncio.timeout(pause_ms / 1_000):
            await stop.wait()
    except TimeoutError:
        return


class Autoscaler:
    """Evaluates every pool that has a spec and a fresh tick."""

    def __init__(
        self,
        settings: Settings,
        pools: Pools,
        feed: TickFeed,
        publisher: Publisher,
        *,
        clock: Clock = now_us,
    ) -> None:
        self._settings = settings
        self._pools = pools
        self._feed = feed
        self._publisher = publisher
        self._clock = clock
        self._reader = DemandReader(settings.clickhouse)
        self._memories: dict[str, Memory] = {}
        self._on_ticks: set[str] = set()
        self._incarnation = uuid.uuid4().hex[:12]
        self._evaluations = 0
        self._absence = ""
        """Why ClickHouse does not answer in this round."""

    async def evaluate_all(self) -> None:
        """Evaluate each pool once and publish what was decided."""
        self._feed.check()
        self._absence = ""
        decisions = [
            decision
            for pool in list(self._pools.by_name.values())
            if (decision := await self._evaluate(pool)) is not None
        ]
        await self._publish(decisions)

    def forget(self) -> None:
        """Drop what was decided before: another process decides now."""
        self._memories.clear()

    def close(self) -> None:
        """Close the connection to ClickHouse."""
        self._reader.close()

    async def _evaluate(self, pool: Pool) -> ScaleDecision | None:
        """Return the decision on a pool; None while no live tick says what it has."""
        window, at_us = self._feed.windows.get(pool.name), self._clock()
        if window is None or window.newest is None or window.received_us is None:
            return None
        if window.received_us < at_us - self._settings.stale_ms * US_PER_MS:
            return None
        seen = window.newest
        span = span_of(pool, seen)
        answer = await self._ask(pool.name, span)
        looked = look(span, window, answer, stale_ms=self._settings.stale_ms)
        self._say_source(pool.name, looked)
        memory = self._memories.get(pool.name) or Memory(started_us=at_us)
        self._evaluations += 1
        decision, self._memories[pool.name] = evaluate(
            pool, seen, looked, memory, now_us=at_us, id=f"{self._incarnation}/{self._evaluations}"
        )
        return decision

    async def _ask(self, pool: str, span: Span) -> Demand | str:
        """Return ClickHouse's answer, or why there is none; an absence is met once a round."""
        if self._absence:
            return self._absence
        try:
            return await asyncio.to_thread(
                self._reader.read,
                pool,
                start_us=span.start_us,
                end_us=span.end_us,
                quantile_ppm=span.quantile_ppm,
            )
        except UnavailableError as error:
            self._absence = str(error)
            return self._absence

    async def _publish(self, decisions: list[ScaleDecision]) -> None:
        kafka = self._settings.kafka
        records = [
            (partition_of(each.pool, kafka.partitions), each.pool.encode(), encode(each), ())
            for each in decisions
        ]
        await self._publisher.send_all(kafka.topic(SCALE_DECISIONS), records)
        for decision in decisions:
            _report(decision)

    def _say_source(self, pool: str, looked: Looked) -> None:
        on_ticks = looked.source is DemandSource.TICKS
        metrics.ON_TICKS.labels(pool).set(int(on_ticks))
        if on_ticks and pool not in self._on_ticks:
            log.warning("pool=%s demand is read from the topic ticks: %s", pool, looked.problem)
            self._on_ticks.add(pool)
        if not on_ticks and pool in self._on_ticks:
            log.warning("pool=%s demand is read from ClickHouse again", pool)
            self._on_ticks.discard(pool)


def _report(decision: ScaleDecision) -> None:
    pool = decision.pool
    metrics.DESIRED.labels(pool).set(decision.desired)
    metrics.NEEDED.labels(pool).set(decision.raw_desired)
    metrics.READY.labels(pool).set(decision.ready)
    metrics.STARTING.labels(pool).set(decision.starting)
    metrics.DECISIONS.labels(pool, decision.direction.value, decision.source.value).inc()
    if decision.direction is not ScaleDirection.HOLD:
        log.info(
            "pool=%s scale %s: %d -> %d (%s; source=%s)",
            pool,
            decision.direction.value,
            decision.current,
            decision.desired,
            decision.reason,
            decision.source.value,
        )
