"""Replayer: sends arrivals through the loop at their own times, whatever the answers are.

Open loop: an arrival never waits for an earlier one.  Everything that runs here is simulated but
the loop itself: clients, gateways and engines, on the replayer's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from admission.gateways.client import GatewayClient
from admission.gateways.kafka import KafkaTransport
from admission.gateways.limits import GatewayLimits
from console.replay.capacity import CapacityReporter, capacity_reported, keep_reporting
from console.replay.clock import NowUs, steady_wall_clock
from console.replay.plan import ReplayPlan, ReplicaChange
from console.replay.record import Recorder, RunLine
from console.replay.replicas import PoolReplicas
from console.replay.requests import Desk, Request
from console.replay.stats import ReplaySnapshot, ReplayStats
from schemas.connections import KafkaOptions
from schemas.errors import SpecError
from schemas.pools import Pool
from schemas.units import MS_PER_S, US_PER_S
from schemas.usage import UsageEvent
from simulation.arrivals import Arrival
from simulation.mapping import Mapper

GATEWAY_LIMITS = GatewayLimits()


@dataclass(frozen=True, kw_only=True)
class ReplayResult:
    """What a replay came to."""

    run_id: str
    source: str
    """Of its usage events; empty without admission control."""
    started_us: int
    ended_us: int
    stopped: bool
    """It was stopped before the last arrival."""
    snapshot: ReplaySnapshot
    ttft_us: Mapping[str, Sequence[int]]
    """Every time to first token, by entitlement."""
    replica_changes: tuple[ReplicaChange, ...]


async def replay(
    plan: ReplayPlan,
    *,
    kafka: KafkaOptions | None,
    urls: Sequence[str],
    stats: ReplayStats,
    stop: asyncio.Event,
) -> ReplayResult:
    """Run the plan to its end, or until ``stop`` is set or this call is cancelled.

    Everything is settled, metered and recorded when it returns or raises.

    ``kafka`` and ``urls`` are not used by a plan without admission control.
    """
    _pool_by_uid(plan.pools)  # refuses an ambiguous plan before anything is connected
    now_us = steady_wall_clock()
    started_us = now_us()
    stats.begin(plan.pools)
    replicas = [PoolReplicas(pool, plan, now_us=now_us) for pool in plan.pools]
    async with AsyncExitStack() as stack:
        recorder = stack.enter_context(Recorder(plan.record_path))
        client, reporter = await _connected(
            stack,
            plan,
            replicas,
            kafka=kafka,
            urls=urls,
            listener=DeliveryRecord(recorder, stats),
            now_us=now_us,
        )
        source = client.source if client else ""
        recorder.write(_run_line(plan, source=source, started_us=started_us))
        servers = {each.pool.name: each.server for each in replicas}
        desk = Desk(
            plan=plan, client=client, servers=servers, recorder=recorder, stats=stats, now_us=now_us
        )
        arrivals = Arrivals(plan, desk, stats, now_us=now_us)
        async with background(plan, replicas, reporter, stats):
            await arrivals.run(stop, started_us=started_us)
    return ReplayResult(
        run_id=plan.run_id,
        source=source,
        started_us=started_us,
        ended_us=now_us(),
        stopped=stop.is_set(),
        snapshot=stats.snapshot(),
        ttft_us=stats.ttft_us_by_entitlement(),
        replica_changes=tuple(change for each in replicas for change in each.changes),
    )


@dataclass(frozen=True)
class DeliveryRecord:
    """Records what became of each usage event, and counts it."""

    recorder: Recorder
    stats: ReplayStats

    def delivered(self, event: UsageEvent) -> None:
        self.recorder.usage(event)
        self.stats.delivered(event)

    def undelivered(self, event: UsageEvent, error: Exception) -> None:
        self.recorder.undelivered(event, error)
        self.stats.undelivered(event, error)


class Arrivals:
    """Turns arrivals into running requests at their times."""

    def __init__(
        self,
        plan: ReplayPlan,
        desk: Desk,
        stats: ReplayStats,
        *,
        now_us: NowUs,
    ) -> None:
        self._plan = plan
        self._desk = desk
        self._stats = stats
        self._pool_by_uid = _pool_by_uid(plan.pools)
        self._now_us = now_us
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        tenants = [
            (uid, entitlement.tenant)
            for pool in plan.pools
            for uid, entitlement in pool.entitlements.items()
        ]
        self._mapper = Mapper(plan.mapping, tenants)

    async def run(self, stop: asyncio.Event, *, started_us: int) -> None:
        """Send everything, wait for what runs, and end what is left, whatever happens."""
        try:
            await self.send_all(stop, started_us=started_us)
            await self.drain(stop)
        finally:
            await self.abort()

    async def send_all(self, stop: asyncio.Event, *, started_us: int) -> None:
        """Start every request at its time; return after the last one, or when stopped."""
        for number, arrival in enumerate(self._plan.arrivals(), start=1):
            due_us = started_us + self._plan.wall_offset_us(arrival.offset_us)
            if await self._stopped_before(due_us, stop):
                return
            self._raise_failure()
            self._stats.late_us_max = max(self._stats.late_us_max, self._now_us() - due_us)
            self._send(number, arrival)

    async def drain(self, stop: asyncio.Event) -> None:
        """Wait within the limit for requests that still run, or until stopped."""
        stopping = asyncio.create_task(stop.wait())
        finishing = asyncio.create_task(self._all_done())
        limit_s = self._plan.limits.drain_ms_max / MS_PER_S
        await asyncio.wait(
            {stopping, finishing}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
        )
        stopping.cancel()
        finishing.cancel()

    async def abort(self) -> None:
        """End the requests that still run: they are settled and metered as aborted."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._raise_failure()

    def _raise_failure(self) -> None:
        """Raise the first error of a request that was our own bug."""
        if self._failure is not None:
            raise self._failure

    async def _all_done(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _stopped_before(self, due_us: int, stop: asyncio.Event) -> bool:
        """Wait until the time has come; return whether the replay was stopped before."""
        wait_us = due_us - self._now_us()
        if wait_us <= 0:
            await asyncio.sleep(0)
            return stop.is_set()
        try:
            async with asyncio.timeout(wait_us / US_PER_S):
                await stop.wait()
        except TimeoutError:
            return False
        return True

    def _send(self, number: int, arrival: Arrival) -> None:
        self._stats.sent += 1
        self._stats.offset_us = arrival.offset_us
        uid = self._mapper.entitlement_of(arrival)
        if uid is None:
            self._stats.unmapped += 1
            return
        self._stats.arrived(uid)
        request = Request(
            number=number,
            arrival=arrival,
            pool=self._pool_by_uid[uid],
            uid=uid,
            arrived_us=self._now_us(),
        )
        if len(self._tasks) >= self._plan.limits.in_flight_max:
            self._stats.not_sent += 1
            self._desk.not_sent(request)
            return
        task = asyncio.create_task(self._desk.handle(request), name=f"request {number}")
        self._tasks.add(task)
        self._stats.in_flight = len(self._tasks)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._stats.in_flight = len(self._tasks)
        if not task.cancelled():
            self._failure = self._failure or task.exception()


async def _connected(
    stack: AsyncExitStack,
    plan: ReplayPlan,
    replicas: Sequence[PoolReplicas],
    *,
    kafka: KafkaOptions | None,
    urls: Sequence[str],
    listener: DeliveryRecord,
    now_us: NowUs,
) -> tuple[GatewayClient | None, CapacityReporter | None]:
    """Connect to the loop; nothing to connect to without admission control."""
    if not plan.admission:
        return None, None
    assert kafka is not None, "admission control needs Kafka"
    reporter = await stack.enter_async_context(capacity_reported(replicas, kafka))
    client = GatewayClient(
        urls,
        KafkaTransport(kafka, GATEWAY_LIMITS),
        source=f"tokenpools/replay/{plan.run_id}",
        limits=GATEWAY_LIMITS,
        listener=listener,
        now_us=now_us,
    )
    return await stack.enter_async_context(client), reporter


@asynccontextmanager
async def background(
    plan: ReplayPlan,
    replicas: Sequence[PoolReplicas],
    reporter: CapacityReporter | None,
    stats: ReplayStats,
) -> AsyncIterator[None]:
    """Keep engines, replicas and capacity records going; a failure ends the replay."""
    every_ms = plan.limits.control_ms
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.server.run()) for each in replicas]
        tasks.append(group.create_task(_turn(replicas, stats, every_ms=every_ms)))
        if reporter is not None:
            reporting = keep_reporting(reporter, replicas, every_ms=every_ms)
            tasks.append(group.create_task(reporting))
        yield
        for task in tasks:
            task.cancel()


async def _turn(replicas: Sequence[PoolReplicas], stats: ReplayStats, *, every_ms: int) -> None:
    while True:
        for each in replicas:
            each.turn()
            stats.pool_is(each.snapshot())
        await asyncio.sleep(every_ms / MS_PER_S)


def _run_line(plan: ReplayPlan, *, source: str, started_us: int) -> RunLine:
    return RunLine(
        run_id=plan.run_id,
        source=source,
        started_us=started_us,
        speed_ppm=plan.speed_ppm,
        admission=plan.admission,
    )


def _pool_by_uid(pools: Sequence[Pool]) -> dict[str, Pool]:
    """Return each entitlement's pool; a replay needs uids that name one entitlement."""
    found: dict[str, Pool] = {}
    for pool in pools:
        for uid in pool.entitlements:
            if uid in found:
                raise SpecError(
                    "entitlements", f"{uid!r} is in pools {found[uid].name} and {pool.name}"
                )
            found[uid] = pool
    return found
