"""Which events count nowhere, why, and may they count after all?  ``dead-letters``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from console.environment import (
    CLICKHOUSE_VARIABLES,
    KAFKA_VARIABLES,
    clickhouse_from,
    kafka_from,
    options,
)
from console.letters.naming import bytes_text, instant_text, instant_us, position_named, printable
from console.letters.replay import Replayed
from console.letters.replay import replay as send_again
from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.positions import Position
from streams.history.dead_letters import (
    Letter,
    Original,
    Wanted,
    counted,
    letters,
    replays_of,
    with_originals,
)
from streams.kafka import client_kwargs

LIMIT: Final = 100
REPLAY_LIMIT: Final = 10_000
ORIGINALS_AT_ONCE: Final = 50
"""Originals in memory; each may be half a MiB."""


@click.group()
def dead_letters() -> None:
    """Events that count nowhere: `list` them, `show` one with its bytes, `replay` them.

    A dead letter is an event that was judged dead (malformed, unknown pool or entitlement, an id
    used with another body, far in the future) or late (beyond the acceptance horizon).
    """


def _filters(command: Any) -> Any:
    for option in (
        click.option("--to", "until", help="Stored before this, RFC 3339 or a date."),
        click.option("--from", "since", help="Stored at or after this, RFC 3339 or a date."),
        click.option("--verdict", type=click.Choice(["dead", "late"])),
        click.option("--reason", help="malformed, unknown_pool, conflict, horizon, ..."),
        click.option("--pool"),
    ):
        command = option(command)
    return command


@dead_letters.command("list")
@_filters
@click.option(
    "--limit",
    type=click.IntRange(1, REPLAY_LIMIT),
    default=LIMIT,
    show_default=True,
    help="Newest.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options(CLICKHOUSE_VARIABLES)
def list_command(
    pool: str | None,
    reason: str | None,
    verdict: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
    **given: Any,
) -> None:
    """List dead letters, the newest last, with the reason and the position of each."""
    wanted = _wanted(pool, reason, verdict, since, until)
    clickhouse = clickhouse_from(given)
    found = letters(clickhouse, wanted, limit=limit)
    if as_json:
        click.echo(json.dumps([_fields(letter) for letter in found], indent=2))
        return
    if not found:
        click.echo("no dead letters")
        return
    _print_table(found)
    if len(found) == limit:
        click.echo(f"{len(found)} of {counted(clickhouse, wanted)}; --limit shows more")


@dead_letters.command()
@click.argument("position")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options(CLICKHOUSE_VARIABLES)
def show(position: str, as_json: bool, **given: Any) -> None:
    """Show everything about the letter at POSITION, its original bytes included."""
    clickhouse = clickhouse_from(given)
    at = position_named(position)
    found = with_originals(clickhouse, [at]).get(at)
    if found is None:
        raise click.ClickException(f"no dead letter is at {at}")
    letter, original = found
    fields = {
        **_fields(letter),
        "replayed_at": [
            f"{where} ({'counts' if counts else 'does not count'})"
            for where, counts in replays_of(clickhouse, at)
        ],
        **_original_fields(original),
    }
    if as_json:
        click.echo(json.dumps(fields, indent=2))
        return
    for name, value in fields.items():
        for text in value if isinstance(value, list) else [value]:
            click.echo(f"{name + ':':18} {text}")


@dead_letters.command()
@click.argument("positions", nargs=-1)
@_filters
@click.option("--all", "everything", is_flag=True, help="Every letter that the filters leave.")
@click.option("--yes", is_flag=True, help="Really replay what --reason or --all selects.")
@options(KAFKA_VARIABLES, CLICKHOUSE_VARIABLES)
def replay(
    positions: tuple[str, ...],
    pool: str | None,
    reason: str | None,
    verdict: str | None,
    since: str | None,
    until: str | None,
    everything: bool,
    yes: bool,
    **given: Any,
) -> None:
    """Send dead letters to `usage` again: those at POSITIONS, or what --reason or --all selects.

    Bytes are the original's; a header names the position replayed, so a letter counts at most once
    however often it is replayed.  A replay is judged without the horizon and id rules; what was
    wrong otherwise (an unknown entitlement, say) must be put right first.  A selection leaves out
    what was replayed and counted already.  Exit status 1 when a letter was refused.
    """
    kafka, clickhouse = kafka_from(given), clickhouse_from(given)
    selects = everything or reason is not None
    if bool(positions) == selects:
        raise click.UsageError("give POSITIONS, or select letters with --reason or --all")
    at = [position_named(each) for each in positions]
    if selects:
        wanted = _wanted(pool, reason, verdict, since, until, to_replay=True)
        if not yes:
            click.echo(f"{counted(clickhouse, wanted)} letters to replay; add --yes to do it")
            return
        at = [each.position for each in letters(clickhouse, wanted, limit=REPLAY_LIMIT)]
    refused = asyncio.run(_replay(at, kafka, clickhouse))
    click.echo(f"dead-letters: replayed={len(at) - refused} refused={refused}")
    if selects and len(at) == REPLAY_LIMIT:
        click.echo(f"at most {REPLAY_LIMIT} at once, the newest first; run it again for the others")
    if refused:
        raise click.exceptions.Exit(1)


async def _replay(
    positions: Sequence[Position], kafka: KafkaOptions, clickhouse: ClickHouseOptions
) -> int:
    """Replay page by page, say what became of each letter, return how many were refused."""
    refused = 0
    for page in _pages(positions):
        found = await asyncio.to_thread(with_originals, clickhouse, page)
        async for outcome in send_again(page, found, kafka, client=client_kwargs(kafka)):
            _say(outcome)
            refused += not outcome.replayed
    return refused


def _pages(positions: Sequence[Position]) -> Iterator[Sequence[Position]]:
    for start in range(0, len(positions), ORIGINALS_AT_ONCE):
        yield positions[start : start + ORIGINALS_AT_ONCE]


def _say(outcome: Replayed) -> None:
    click.echo(outcome.line())


def _wanted(
    pool: str | None,
    reason: str | None,
    verdict: str | None,
    since: str | None,
    until: str | None,
    *,
    to_replay: bool = False,
) -> Wanted:
    return Wanted(
        pool=pool,
        reason=reason,
        verdict=verdict,
        start_us=instant_us(since, option="--from"),
        end_us=instant_us(until, option="--to"),
        to_replay=to_replay,
    )


def _fields(letter: Letter) -> dict[str, Any]:
    return {
        "position": str(letter.position),
        "stored": instant_text(letter.stored_us),
        "verdict": letter.verdict,
        "reason": letter.reason,
        "error": printable(letter.error),
        "pool": printable(letter.pool),
        "entitlement": printable(letter.entitlement),
        "source": printable(letter.source),
        "id": printable(letter.id),
        "event_time": instant_text(letter.event_us),
        "first": letter.first,
        "replays": letter.replays,
    }


def _original_fields(original: Original | None) -> dict[str, Any]:
    if original is None:
        return {"original": "not stored"}
    kind, value = bytes_text(original.value)
    key = None if original.key is None else " ".join(bytes_text(original.key))
    return {
        "original_key": key,
        "original_headers": [
            f"{printable(name)} {' '.join(bytes_text(content))}"
            for name, content in original.headers
        ],
        "original_bytes": len(original.value),
        f"original_{kind}": value,
    }


def _print_table(found: Sequence[Letter]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    names = ("position", "stored", "verdict", "reason", "pool", "entitlement", "source", "error")
    for name in names:
        table.add_column(name, overflow="fold")
    for letter in found:
        fields = _fields(letter)
        table.add_row(*(Text(fields[name]) for name in names))
    Console().print(table)
