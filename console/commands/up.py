"""``up``: the loop on this machine, kept running for real gateways."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from console.loop_session import clickhouse_of, run_until_signal, running_loop
from console.poolsfile import read_pools
from deploy.local.loop import ADMITTERS_MAX, WORKERS_MAX, LoopPlan, Ports
from schemas.specs import PoolRecord

KAFKA_PORT = 19_092
KAFKA_CONTROLLER_PORT = 19_093
CLICKHOUSE_PORT = 18_123
ADMISSION_PORT = 18_080


@click.command()
@click.option(
    "--config",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Pools and entitlements to publish (pools.yaml).",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tokenpools/up"),
    show_default=True,
    help="Data, logs and secrets; kept between runs.",
)
@click.option("--admitters", type=click.IntRange(1, ADMITTERS_MAX), default=2, show_default=True)
@click.option("--workers", type=click.IntRange(1, WORKERS_MAX), default=1, show_default=True)
@click.option("--kafka-port", type=int, default=KAFKA_PORT, show_default=True)
@click.option("--kafka-controller-port", type=int, default=KAFKA_CONTROLLER_PORT, show_default=True)
@click.option("--clickhouse-port", type=int, default=CLICKHOUSE_PORT, show_default=True)
@click.option(
    "--admission-port",
    type=int,
    default=ADMISSION_PORT,
    show_default=True,
    help="Port of the first admitter; the others follow.",
)
@click.option(
    "--no-provision",
    is_flag=True,
    help="Create no topics, only check them (see `tokenpools topics --print`). "
    "Environment: TOKENPOOLS_PROVISION=false.",
)
def up(
    file: Path,
    state_dir: Path,
    admitters: int,
    workers: int,
    kafka_port: int,
    kafka_controller_port: int,
    clickhouse_port: int,
    admission_port: int,
    no_provision: bool,
) -> None:
    """Keep the loop running here: Kafka, ClickHouse, streams, history, autoscaler, admitters.

    A process that dies is started again with back-off and named.  With KAFKA_BOOTSTRAP_SERVERS or
    CLICKHOUSE_DSN in the environment that server is used instead of a local one.
    """
    records = read_pools(file).records
    plan = LoopPlan(
        state_dir=state_dir.absolute(),
        admitters=admitters,
        workers=workers,
        kafka=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or None,
        clickhouse=os.environ.get("CLICKHOUSE_DSN") or None,
        ports=Ports(
            kafka=kafka_port,
            kafka_controller=kafka_controller_port,
            clickhouse=clickhouse_port,
            admission=admission_port,
        ),
        environment={"TOKENPOOLS_PROVISION": "false"} if no_provision else {},
    )
    run_until_signal(_keep_running(plan, records))


async def _keep_running(plan: LoopPlan, records: Sequence[PoolRecord]) -> None:
    console = Console(highlight=False)
    async with running_loop(plan, records, say=console.print) as loop:
        addresses = loop.addresses
        clickhouse = clickhouse_of(addresses, os.environ)
        console.print(f"[bold]ready[/]: admitters {' '.join(addresses.admitters)}")
        console.print(f"  KAFKA_BOOTSTRAP_SERVERS={addresses.kafka}")
        console.print(f"  CLICKHOUSE_DSN={clickhouse.dsn} (user {clickhouse.username})")
        console.print(f"  state and logs: {plan.state_dir}; Ctrl-C stops everything")
        await asyncio.Event().wait()
