"""``top``: watch a loop that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import click
from rich.console import Console

from console.environment import KAFKA_VARIABLES, kafka_from, options
from console.live.display import Display
from console.live.view import LoopView
from console.live.watch import Watcher
from console.loop_session import run_until_signal
from schemas.connections import KafkaOptions
from streams.kafka import client_kwargs


@click.command()
@click.option("--seconds", type=click.IntRange(min=1), help="Stop after this long.")
@options(KAFKA_VARIABLES)
def top(seconds: int | None, **given: Any) -> None:
    """Watch a running loop through its Kafka topics; Ctrl-C ends the watching, not the loop."""
    run_until_signal(_watch(kafka_from(given), seconds=seconds))


async def _watch(kafka: KafkaOptions, *, seconds: int | None) -> None:
    view, stop = LoopView(), asyncio.Event()
    watcher = asyncio.create_task(Watcher(view, kafka, client=client_kwargs(kafka)).run(stop))
    try:
        async with Display(view, console=Console()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)
    finally:
        stop.set()
        await watcher
