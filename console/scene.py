"""A scene: the loop is started, traffic goes through it, and what came of it is read back."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table

from console.live.display import Display, Head
from console.live.view import LoopView, PoolRow
from console.live.watch import Watcher
from console.loop_session import clickhouse_of, kafka_of, running_loop
from console.poolsfile import PoolsFile, ReplaySection
from console.reconcile import Baseline, Reconciliation, baseline_of, reconcile
from console.replay.plan import ReplayPlan
from console.replay.record import read_totals
from console.replay.replayer import ReplayResult, replay
from console.replay.stats import ReplayStats
from console.summary import Outcome, latency_by_class, print_comparison, print_summary
from console.traffic import Traffic, TrafficOptions, plan_of, traffic_of
from deploy.local.loop import LoopPlan
from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.errors import UnavailableError
from schemas.pools import Pool, compile_pool
from schemas.prices import PriceBook
from schemas.units import PPM, US_PER_S
from simulation.mapping import sentence
from streams.core.chargeback import Statement
from streams.history.billing import chargeback
from streams.kafka import client_kwargs

SCENES: Final = Path(__file__).with_name("scenes")
BAR_CELLS: Final = 40
RUN_ID_BYTES: Final = 4
SHARES_S_MAX: Final = 20
SHARES_POLL_S: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What ``run`` plays."""

    plan: LoopPlan
    pools: PoolsFile
    prices: PriceBook
    traffic: TrafficOptions
    compare: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A running loop and how to reach it."""

    kafka: KafkaOptions
    clickhouse: ClickHouseOptions
    urls: Sequence[str]
    view: LoopView


@dataclass(frozen=True, kw_only=True)
class Show:
    """What is sent through a running loop, and where its record goes."""

    traffic: Traffic
    pools: Sequence[Pool]
    replay: ReplaySection
    prices: PriceBook
    records_dir: Path


async def play(scene: Scene, *, console: Console) -> bool:
    """Play the scene and print its summary; return whether the three counts agree."""
    replay_section = scene.pools.replay
    show = Show(
        traffic=traffic_of(
            scene.traffic, default_workload=replay_section.workload, say=console.print
        ),
        pools=[compile_pool(record) for record in scene.pools.records],
        replay=replay_section,
        prices=scene.prices,
        records_dir=scene.plan.state_dir / "runs",
    )
    console.print(show.traffic.about)
    console.print(sentence(replay_section.mapping.tenants))
    async with running_loop(scene.plan, scene.pools.records, say=console.print, alone=True) as loop:
        addresses = loop.addresses
        stage = Stage(
            kafka=kafka_of(addresses, os.environ),
            clickhouse=clickhouse_of(addresses, os.environ),
            urls=addresses.admitters,
            view=LoopView(since_us=time.time_ns() // 1_000),
        )
        outcome = await perform(show, stage, console=console)
        print_summary(console, outcome, show.pools)
        if scene.compare:
            await _compare(show, outcome.result, console=console)
    return outcome.reconciliation.agrees


async def perform(show: Show, stage: Stage, *, console: Console) -> Outcome:
    """Send the traffic through the loop, show it, and read back what came of it."""
    baseline = await baseline_of(stage.kafka, stage.clickhouse)
    plan = _plan(show)
    stats = _stats(plan, show.traffic)
    async with watched(stage):
        await shares_given(stage.view, say=console.print)
        async with Display(stage.view, console=console, head=Progress(stats, show.traffic)):
            result = await replay(
                plan, kafka=stage.kafka, urls=stage.urls, stats=stats, stop=asyncio.Event()
            )
        console.print("reading back what was emitted, from the record, the ledger and ClickHouse")
        reconciliation = await read_back(plan.record_path, baseline, result, stage)
        statement = await _statement(show.prices, result, stage)
    return Outcome(
        result=result, reconciliation=reconciliation, statement=statement, view=stage.view
    )


def _plan(show: Show, *, like: ReplayResult | None = None) -> ReplayPlan:
    """Return the plan; ``like`` another run: without admission control, on its replicas."""
    run_id = new_run_id()
    return plan_of(
        show.traffic,
        show.replay,
        show.pools,
        run_id=run_id,
        record_path=show.records_dir / f"{run_id}.jsonl",
        admission=like is None,
        replica_schedule=() if like is None else like.replica_changes,
    )


def _stats(plan: ReplayPlan, traffic: Traffic) -> ReplayStats:
    stats = ReplayStats(run_id=plan.run_id, rows=plan.rows, span_us=plan.span_us)
    stats.bad_rows = traffic.bad_rows
    return stats


async def shares_given(view: LoopView, *, say: Callable[[str], None]) -> None:
    """Return once the admitters may use most of each pool, or ``SHARES_S_MAX`` have passed.

    A streams worker that takes over raises nothing for one lease, so a loop that is started again
    has nothing to give at first.
    """
    deadline_s = time.monotonic() + SHARES_S_MAX
    while not view.pools() or not all(_is_given(pool) for pool in view.pools()):
        if time.monotonic() > deadline_s:
            say(f"the admitters were not given their shares within {SHARES_S_MAX} s; going on")
            return
        await asyncio.sleep(SHARES_POLL_S)


def _is_given(pool: PoolRow) -> bool:
    """Whether nine tenths of the slots are granted, held or in the common share."""
    common = sum(row.common_slots for row in pool.admitters)
    granted = sum(max(row.grant.slots, row.held_slots) for row in pool.entitlements)
    return 10 * (common + granted) >= 9 * pool.capacity.slots > 0


@asynccontextmanager
async def watched(stage: Stage) -> AsyncIterator[None]:
    """Feed the stage's view from Kafka meanwhile."""
    stop = asyncio.Event()
    watcher = Watcher(stage.view, stage.kafka, client=client_kwargs(stage.kafka))
    task = asyncio.create_task(watcher.run(stop), name="watcher")
    try:
        yield
    finally:
        stop.set()
        await task


async def read_back(
    record: Path, baseline: Baseline, result: ReplayResult, stage: Stage
) -> Reconciliation:
    """Return the three counts of a run, once they agree or time is up."""
    emitted = await asyncio.to_thread(read_totals, [record])
    return await reconcile(
        {key: counts.total for key, counts in emitted.by_entitlement.items()},
        baseline=baseline,
        source=result.source,
        kafka=stage.kafka,
        clickhouse=stage.clickhouse,
    )


async def _statement(prices: PriceBook, result: ReplayResult, stage: Stage) -> Statement | None:
    try:
        return await asyncio.to_thread(
            chargeback,
            stage.clickhouse,
            prices,
            start_us=result.started_us,
            end_us=time.time_ns() // 1_000,
        )
    except UnavailableError:
        return None


async def _compare(show: Show, first: ReplayResult, *, console: Console) -> None:
    """Repeat the traffic straight to the engine, with the replicas that the first run had."""
    plan = _plan(show, like=first)
    console.rule("the same traffic without admission control, on the same replicas")
    stats = _stats(plan, show.traffic)
    async with Display(LoopView(), console=console, head=Progress(stats, show.traffic)):
        second = await replay(plan, kafka=None, urls=(), stats=stats, stop=asyncio.Event())
    print_comparison(
        console,
        latency_by_class(first, show.pools),
        latency_by_class(second, show.pools),
        title=show.traffic.about,
    )


class Progress(Head):
    """The replay's progress, above the pools."""

    def __init__(self, stats: ReplayStats, traffic: Traffic) -> None:
        self._stats = stats
        self._traffic = traffic

    def renderables(self) -> Sequence[RenderableType]:
        """Return a bar and what it means."""
        bar = ProgressBar(
            total=max(self._traffic.rows, 1), completed=self._stats.sent, width=BAR_CELLS
        )
        line = Table.grid(padding=(0, 2))
        line.add_row(bar, self.lines()[0])
        return [line]

    def lines(self) -> Sequence[str]:
        """Return the progress in words."""
        snapshot, traffic = self._stats.snapshot(), self._traffic
        waiting = sum(pool.waiting for pool in snapshot.pools)
        running = sum(pool.running for pool in snapshot.pools)
        return [
            f"{snapshot.offset_us // US_PER_S} of {traffic.span_us // US_PER_S} s at speed "
            f"{traffic.speed_ppm / PPM:g}: {snapshot.sent}/{traffic.rows} requests sent, "
            f"engines {running} running {waiting} waiting, {snapshot.tokens_emitted:,} tokens"
        ]


def new_run_id() -> str:
    """Return the id of a run: when it began, and a random part."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return f"{stamp}-{secrets.token_hex(RUN_ID_BYTES)}"
