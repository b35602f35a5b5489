"""Who used what, and what does it cost?  ``usage`` and ``chargeback`` from ClickHouse."""

from __future__ import annotations

import csv
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table

from console.environment import CLICKHOUSE_VARIABLES, clickhouse_from, options
from console.poolsfile import read_prices
from schemas.errors import SettingsError
from schemas.units import US_PER_S
from streams.core.chargeback import Line, Statement
from streams.history.billing import chargeback as statement_of
from streams.history.queries import By, Step, UsageQuery, UsageRow
from streams.history.queries import usage as usage_rows

Cells = Mapping[str, str | int]
"""One row of an answer by column name."""

TOKEN_COLUMNS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)


def _formats(command: Any) -> Any:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV."),
        click.option("--tz", default="UTC", show_default=True, help="Time zone of the periods."),
        click.option("--to", "until", help="End (exclusive), RFC 3339 or a date; default: now."),
        click.option("--from", "since", help="Start, RFC 3339 or a date; default: 24 h ago."),
    ):
        command = option(command)
    return command


@click.command()
@click.option(
    "--by",
    multiple=True,
    type=click.Choice([by.value for by in By]),
    help="Group by; repeatable. Default: tenant and pool.",
)
@click.option("--label", "labels", multiple=True, help="Group by a label as well; repeatable.")
@click.option(
    "--per", type=click.Choice([step.value for step in Step]), default="total", show_default=True
)
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Filter, for example pool=chat.")
@click.option("--where-label", multiple=True, metavar="LABEL=VALUE", help="Filter on a label.")
@_formats
@options(CLICKHOUSE_VARIABLES)
def usage(
    by: tuple[str, ...],
    labels: tuple[str, ...],
    per: str,
    where: tuple[str, ...],
    where_label: tuple[str, ...],
    since: str | None,
    until: str | None,
    tz: str,
    as_csv: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Tokens by tenant, pool, model, entitlement, class or label, per minute to month.

    Counts accepted events as far as they are judged; an event shows within seconds.
    """
    start_us, end_us = interval_us(since, until, tz=tz)
    query = UsageQuery(
        start_us=start_us,
        end_us=end_us,
        step=Step(per),
        tz=tz,
        by=tuple(By(one) for one in by) or ((By.TENANT, By.POOL) if not labels else ()),
        labels=labels,
        where={_by(name): value for name, value in _pairs(where, "--where").items()},
        where_labels=_pairs(where_label, "--where-label"),
    )
    rows = usage_rows(clickhouse_from(given), query)
    _print([_usage_cells(row, query) for row in rows], as_csv=as_csv, as_json=as_json)


@click.command()
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Price list (prices.yaml).",
)
@_formats
@options(CLICKHOUSE_VARIABLES)
def chargeback(
    prices: Path,
    since: str | None,
    until: str | None,
    tz: str,
    as_csv: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """What each tenant owes: used tokens by class, and reserved throughput that stood idle.

    Amounts are exact decimals, rounded once per line so that lines sum to the total; what has no
    price is `unpriced`.  The used tokens sum to the ledger's.
    """
    start_us, end_us = interval_us(since, until, tz=tz)
    statement = statement_of(
        clickhouse_from(given), read_prices(prices), start_us=start_us, end_us=end_us
    )
    cells = [_line_cells(line) for line in statement.lines]
    _print(cells, as_csv=as_csv, as_json=as_json)
    if not (as_csv or as_json):
        _print_totals(statement)


def interval_us(since: str | None, until: str | None, *, tz: str) -> tuple[int, int]:
    """Return ``[start, end)`` in microseconds; a text without an offset is in zone ``tz``."""
    now = datetime.datetime.now(datetime.UTC)
    end = now if until is None else _moment(until, tz=tz, option="--to")
    day = datetime.timedelta(days=1)
    start = end - day if since is None else _moment(since, tz=tz, option="--from")
    if start >= end:
        raise SettingsError(f"--from {start} must be before --to {end}")
    return _us(start), _us(end)


def _moment(text: str, *, tz: str, option: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
        zone = ZoneInfo(tz)
    except ZoneInfoNotFoundError as error:
        raise SettingsError(f"--tz {tz!r} is no time zone (such as Europe/Berlin)") from error
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} is no RFC 3339 instant or date") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _us(moment: datetime.datetime) -> int:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (moment - epoch) // datetime.timedelta(microseconds=1)


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SettingsError(f"{option} {text!r} must look like NAME=VALUE")
        pairs[name] = value
    return pairs


def _by(name: str) -> By:
    try:
        return By(name)
    except ValueError:
        known = ", ".join(by.value for by in By)
        raise SettingsError(f"--where {name!r}: known are {known}") from None


def _usage_cells(row: UsageRow, query: UsageQuery) -> Cells:
    period: dict[str, str | int] = {}
    if query.step is not Step.TOTAL:
        zone = ZoneInfo(query.tz)
        start = datetime.datetime.fromtimestamp(row.start_us // US_PER_S, zone)
        period = {query.step.value: start.isoformat()}
    tokens = {name: getattr(row.tokens, name) for name in TOKEN_COLUMNS}
    return {
        **period,
        **row.group,
        **tokens,
        "tokens": row.tokens.total,
        "requests": row.requests,
        "events": row.events,
    }


def _line_cells(line: Line) -> Cells:
    return {
        "tenant": line.tenant,
        "pool": line.pool,
        "model": line.model,
        "class": line.service_class,
        "token_class": line.token_class.value,
        "tokens": line.tokens,
        "per_million": "unpriced" if line.unit_price is None else str(line.unit_price),
        "amount": "unpriced" if line.amount is None else str(line.amount),
        "currency": line.currency,
    }


def _print(rows: Sequence[Cells], *, as_csv: bool, as_json: bool) -> None:
    if as_csv and as_json:
        raise SettingsError("--csv and --json exclude each other")
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
    elif as_csv:
        _print_csv(rows)
    else:
        _print_table(rows)


def _print_csv(rows: Sequence[Cells]) -> None:
    if not rows:
        return
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)


def _plain(value: str | int) -> str | int:
    """Return a cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _print_table(rows: Sequence[Cells]) -> None:
    """Print a table; token classes that nobody used are left out of it."""
    if not rows:
        click.echo("no usage in this interval")
        return
    names = [name for name in rows[0] if name == "tokens" or any(row[name] != 0 for row in rows)]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        heading = name.removesuffix("_tokens").replace("_", " ")
        justify: JustifyMethod = "right" if isinstance(rows[0][name], int) else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(_shown(row[name]) for name in names))
    Console().print(table)


def _shown(cell: str | int) -> str:
    return f"{cell:,}" if isinstance(cell, int) else cell


def _print_totals(statement: Statement) -> None:
    for total in statement.totals:
        amount = "unpriced" if total.amount is None else f"{total.amount} {total.currency}"
        click.echo(f"total: {amount}, {total.tokens} tokens used, {total.idle_tokens} idle")
