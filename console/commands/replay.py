"""``replay``: traffic against a loop that already runs, here or elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from console.commands.traffic_options import traffic_options
from console.discovery import admitter_urls, published_pools
from console.environment import (
    CLICKHOUSE_VARIABLES,
    KAFKA_VARIABLES,
    clickhouse_from,
    kafka_from,
    options,
)
from console.live.view import LoopView
from console.loop_session import run_until_signal
from console.poolsfile import MappingSection, ReplaySection, read_pools, read_prices
from console.scene import SCENES, Show, Stage, perform
from console.summary import print_summary
from console.traffic import TrafficOptions, traffic_of
from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.pools import Pool, compile_pool
from schemas.prices import PriceBook
from simulation.mapping import MappingRule, sentence

WITHOUT_CONFIG = ReplaySection(
    workload="scene", mapping=MappingSection(rule=MappingRule.ROUND_ROBIN)
)
"""How traffic is mapped when no config says: every tenant in turn to the published entitlements."""


@click.command()
@click.argument(
    "trace", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--config",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Pools file whose `replay` section maps tenants; default: round robin over the pools "
    "that the loop follows.",
)
@click.option("--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--admitter",
    "urls",
    multiple=True,
    help="URL of an admitter, repeatable; default: those named in the pools' admission state.",
)
@click.option(
    "--records",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tokenpools/records"),
    show_default=True,
    help="Folder of the record of what was emitted.",
)
@traffic_options
@options(KAFKA_VARIABLES, CLICKHOUSE_VARIABLES)
def replay(
    trace: Path | None,
    file: Path | None,
    prices: Path | None,
    urls: tuple[str, ...],
    records: Path,
    workload: str,
    seed: int,
    speed: str,
    scale_capacity: bool,
    limit_s: int | None,
    **given: Any,
) -> None:
    """Replay TRACE (or --workload) against the loop at KAFKA_BOOTSTRAP_SERVERS.

    TRACE is plain or gzip, in our own format, Azure's, BurstGPT's or Mooncake's (see README).
    Engines and gateways are simulated here; the loop is real.  Exit status 1 when what was emitted,
    the ledger and ClickHouse do not agree.
    """
    console = Console(highlight=False)
    section = WITHOUT_CONFIG if file is None else read_pools(file).replay
    wanted = _Wanted(
        options=TrafficOptions(
            trace=trace,
            workload=workload,
            seed=seed,
            speed=speed,
            scale_capacity=scale_capacity,
            limit_s=limit_s,
        ),
        section=section,
        file=file,
        prices=read_prices(prices or SCENES / "prices.yaml"),
        records=records.absolute(),
        urls=urls,
    )
    kafka, clickhouse = kafka_from(given), clickhouse_from(given)
    agrees = run_until_signal(wanted.perform(kafka, clickhouse, console=console))
    sys.exit(130 if agrees is None else 0 if agrees else 1)


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What the command line asked for, before the loop was asked what it has."""

    options: TrafficOptions
    section: ReplaySection
    file: Path | None
    prices: PriceBook
    records: Path
    urls: Sequence[str]

    async def perform(
        self, kafka: KafkaOptions, clickhouse: ClickHouseOptions, *, console: Console
    ) -> bool:
        """Find the loop, replay and sum up; return whether the three counts agree."""
        pools, urls = await asyncio.gather(self._pools(kafka), self._admitters(kafka))
        traffic = traffic_of(
            self.options, default_workload=self.section.workload, say=console.print
        )
        console.print(traffic.about)
        console.print(sentence(self.section.mapping.tenants))
        console.print(f"admitters: {' '.join(urls)}")
        view = LoopView(since_us=time.time_ns() // 1_000)
        stage = Stage(kafka=kafka, clickhouse=clickhouse, urls=urls, view=view)
        show = Show(
            traffic=traffic,
            pools=pools,
            replay=self.section,
            prices=self.prices,
            records_dir=self.records,
        )
        outcome = await perform(show, stage, console=console)
        print_summary(console, outcome, pools)
        return outcome.reconciliation.agrees

    async def _pools(self, kafka: KafkaOptions) -> Sequence[Pool]:
        if self.file is None:
            return await published_pools(kafka)
        return [compile_pool(record) for record in read_pools(self.file).records]

    async def _admitters(self, kafka: KafkaOptions) -> Sequence[str]:
        return self.urls or await admitter_urls(kafka)
