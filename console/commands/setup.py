"""What must exist before the loop starts?  ``topics``, ``migrate`` and ``schemas``."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import click

from console.environment import (
    CLICKHOUSE_VARIABLES,
    KAFKA_VARIABLES,
    clickhouse_from,
    kafka_from,
    options,
)
from deploy.local.provision import create_commands, provision
from schemas.catalog import json_schemas
from streams.history.migrate import migrate as apply_migrations
from streams.history.migrate import render
from streams.history.settings import retention_from_env
from streams.kafka import client_kwargs


@click.command()
@click.option("--print", "show", is_flag=True, help="Print the commands that create them.")
@options(KAFKA_VARIABLES)
def topics(show: bool, **given: Any) -> None:
    """Create the missing Kafka topics and check the others, or print how to create them."""
    kafka = kafka_from(given)
    if show:
        click.echo("\n".join(create_commands(kafka)))
        return
    created = asyncio.run(provision(kafka, client=client_kwargs(kafka)))
    click.echo(f"created {len(created)} topics: {', '.join(created) or 'none was missing'}")


@click.command()
@click.option("--print", "show", is_flag=True, help="Print the SQL instead of applying it.")
@options(CLICKHOUSE_VARIABLES)
def migrate(show: bool, **given: Any) -> None:
    """Apply the ClickHouse migrations that are missing, in order, or print them."""
    clickhouse, retention = clickhouse_from(given), retention_from_env(os.environ)
    if show:
        for name, sql in render(clickhouse, retention=retention):
            click.echo(f"-- {name}\n{sql}\n")
        return
    applied = apply_migrations(clickhouse, retention=retention)
    click.echo(f"applied {len(applied)} migrations: {', '.join(applied) or 'none was missing'}")


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write one <message>.schema.json each into; without it, names are listed.",
)
def schemas(out: Path | None) -> None:
    """Write the JSON Schema of every message that travels between the processes."""
    rendered = json_schemas()
    if out is None:
        click.echo("\n".join(rendered))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, schema in rendered.items():
        text = json.dumps(schema, indent=2, sort_keys=True)
        (out / f"{name}.schema.json").write_text(text + "\n", encoding="utf-8")
    click.echo(f"wrote {len(rendered)} schemas to {out}")
