"""What may each tenant use?  ``apply``, ``capacity``, ``new-epoch`` and ``keys``."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from admission.auth import digest_of, new_key
from console.environment import KAFKA_VARIABLES, kafka_from, options
from console.poolsfile import read_pools
from console.publish import publish_capacity, publish_epoch, publish_pools
from schemas.capacity import PoolCapacity, WriterRank
from schemas.errors import SettingsError
from schemas.pools import Pool, compile_pool, floors
from schemas.specs import EpochRecord
from streams.book import PoolBook
from streams.kafka import client_kwargs


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only validate.")
@options(KAFKA_VARIABLES)
def apply(file: Path, dry_run: bool, **given: Any) -> None:
    """Validate the pools of FILE and publish them to the topic `pools`.

    Every process follows that topic; none reads the file.  A pool whose floors sum to more than
    replicas.max x perReplica is refused with the numbers.
    """
    records = read_pools(file).records
    pools = [compile_pool(record) for record in records]
    _show(pools)
    if dry_run:
        return
    kafka = kafka_from(given)
    asyncio.run(
        publish_pools(records, kafka, client=client_kwargs(kafka), now_us=time.time_ns() // 1_000)
    )
    click.echo(f"published {len(pools)} pools to {kafka.topic('pools')} at {kafka.bootstrap}")


def _show(pools: list[Pool]) -> None:
    table = Table("pool", "model", "replicas", "entitlements", "floor slots", "floor tokens/s")
    for pool in pools:
        promised = floors(list(pool.entitlements.values()))
        table.add_row(
            pool.name,
            pool.model,
            f"{pool.replicas_min}-{pool.replicas_max}",
            str(len(pool.entitlements)),
            f"{promised.slots} of {pool.per_replica.slots * pool.replicas_max}",
            f"{promised.tokens_per_s} of {pool.per_replica.tokens_per_s * pool.replicas_max}",
        )
    Console().print(table)


@click.command()
@click.argument("pool")
@click.option("--ready", type=click.IntRange(min=0), required=True, help="Replicas that serve.")
@click.option("--starting", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--draining", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--ttl",
    "ttl_s",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seconds until this word expires; 0: until it is replaced.",
)
@options(KAFKA_VARIABLES)
def capacity(pool: str, ready: int, starting: int, draining: int, ttl_s: int, **given: Any) -> None:
    """Say how many replicas of POOL are ready (rank: above `up`, below replayer and controller)."""
    kafka = kafka_from(given)
    record = PoolCapacity(
        pool=pool,
        writer="operator",
        rank=WriterRank.OPERATOR,
        ready=ready,
        starting=starting,
        draining=draining,
        at_us=time.time_ns() // 1_000,
        ttl_ms=ttl_s * 1_000,
    )
    asyncio.run(publish_capacity(record, kafka, client=client_kwargs(kafka)))
    click.echo(f"{pool}: ready={ready} starting={starting} draining={draining}")


@click.command()
@click.option("--reason", required=True, help="Why the topic `usage` was re-created.")
@options(KAFKA_VARIABLES)
def new_epoch(reason: str, **given: Any) -> None:
    """Begin a new order of positions after the topic `usage` was re-created.

    Stop the streams workers first; positions of the old log keep the old epoch.
    """
    kafka = kafka_from(given)
    client = client_kwargs(kafka)

    async def begin() -> int:
        book = PoolBook(kafka)
        await book.start()
        epoch = book.epoch + 1
        await book.stop()
        now_us = time.time_ns() // 1_000
        record = EpochRecord(epoch=epoch, created_us=now_us, reason=reason)
        await publish_epoch(record, kafka, client=client)
        return epoch

    click.echo(f"log epoch {asyncio.run(begin())}")


@click.group()
def keys() -> None:
    """API keys: random, at least 128 bits, stored as SHA-256."""


@keys.command()
def new() -> None:
    """Print a new API key and the digest for an entitlement's `keys`."""
    key = new_key()
    click.echo(f"key (give it to the gateway, it is shown once): {key}")
    click.echo(f"digest (put it under `keys:` of the entitlement):  {digest_of(key)}")


@keys.command("digest")
@click.argument("key_file", type=click.File("r"))
def digest_command(key_file: Any) -> None:
    """Print the digest of the key in KEY_FILE (`-`: standard input)."""
    key = key_file.read().strip()
    if not key:
        raise SettingsError("the key is empty")
    click.echo(digest_of(key))
