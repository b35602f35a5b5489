"""Do raw Kafka, the ledger and ClickHouse say the same?  ``verify`` recomputes and compares."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import click
from rich.console import Console

from console.environment import (
    CLICKHOUSE_VARIABLES,
    KAFKA_VARIABLES,
    clickhouse_from,
    kafka_from,
    options,
)
from console.letters.naming import instant_us
from console.verification.printing import as_json as plain
from console.verification.printing import tables
from console.verification.verify import Wanted
from console.verification.verify import verify as compare
from schemas.errors import SettingsError
from streams.history.raw_sums import WINDOW_US, Interval


@click.command()
@click.option("--pool", help="Only this pool.")
@click.option(
    "--from", "since", help="Start of a window of event time: a whole minute, RFC 3339 or a date."
)
@click.option("--to", "until", help="End of the window (exclusive); default: the last minute.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options(KAFKA_VARIABLES, CLICKHOUSE_VARIABLES)
def verify(
    pool: str | None, since: str | None, until: str | None, as_json: bool, **given: Any
) -> None:
    """Recompute totals, or a window, and compare three counts that share no code.

    Raw events and verdicts in Kafka, raw rows in ClickHouse, and the ledger: its totals, or for a
    window the minutes that it published.  Exact on a running system: all count up to one position.
    Without a window, partitions are checked in events too (accepted + duplicate + late + dead +
    forwarded = read), and usage that was settled but never emitted is named by gateway.

    Exit status: 0 when all agree, 1 on drift, 2 when a reader could not answer.
    """
    wanted = Wanted(pool=pool, interval=_interval(since, until, now_us=_now_us()))
    report = asyncio.run(
        compare(wanted, kafka_from(given), clickhouse_from(given), say=_say, now_us=_now_us)
    )
    if as_json:
        click.echo(json.dumps(plain(report), indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for each in tables(report):
            console.print(each, markup=False)
    sys.exit(1 if report.drift else 0)


def _interval(since: str | None, until: str | None, *, now_us: int) -> Interval | None:
    start_us = instant_us(since, option="--from")
    end_us = instant_us(until, option="--to")
    if start_us is None:
        if end_us is not None:
            raise SettingsError("--to needs --from")
        return None
    end_us = now_us // WINDOW_US * WINDOW_US if end_us is None else end_us
    for option, at_us in (("--from", start_us), ("--to", end_us)):
        if at_us % WINDOW_US:
            raise SettingsError(f"{option} must be a whole minute: the ledger publishes minutes")
    if start_us >= end_us:
        raise SettingsError("--from must be before --to")
    return start_us, end_us


def _now_us() -> int:
    return time.time_ns() // 1_000


def _say(text: str) -> None:
    click.echo(f"verify: {text}", err=True)
