"""Which commands does an operator have?  ``tokenpools --help`` answers; each group is a file.

Commands are imported when they are asked for, so that ``--help`` stays fast and a process loads
only what it runs.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import packages_distributions, version
from typing import Final

import click

from deploy.ownership import ownership_problem
from schemas.errors import TokenpoolsError

COMMANDS: Final = {
    "run": ("console.commands.run", "Start the whole loop here, replay traffic, show it, sum up."),
    "up": ("console.commands.up", "Keep the whole loop running here for real gateways."),
    "replay": ("console.commands.replay", "Replay a trace or workload against a running loop."),
    "top": ("console.commands.top", "Watch a loop that runs elsewhere."),
    "apply": ("console.commands.specs", "Validate a pools file and publish it."),
    "capacity": ("console.commands.specs", "Say how many replicas of a pool are ready."),
    "new-epoch": ("console.commands.specs", "Begin a new order for a re-created usage topic."),
    "keys": ("console.commands.specs", "Make an API key and its digest."),
    "usage": ("console.commands.money", "Tokens by tenant, pool, model, class or label over time."),
    "chargeback": ("console.commands.money", "What each tenant owes, from a price list."),
    "verify": (
        "console.commands.verify",
        "Recompute totals or a window from Kafka and raw rows, and compare them with the ledger.",
    ),
    "dead-letters": (
        "console.commands.dead_letters",
        "List, show and replay the events that count nowhere.",
    ),
    "experiment": (
        "console.commands.experiment",
        "Repeat an experiment of the paper under a virtual clock.",
    ),
    "simulate": (
        "console.commands.simulate",
        "Ask what pools would do with traffic, without any server.",
    ),
    "topics": ("console.commands.setup", "Create or print the Kafka topics."),
    "migrate": ("console.commands.setup", "Create or print the ClickHouse tables and views."),
    "schemas": ("console.commands.setup", "Write the JSON Schema of every message."),
    "admission": ("console.commands.admission", "Run one admitter."),
    "streams": ("console.commands.streams", "Run one streams worker."),
    "history": ("console.commands.history", "Run the ClickHouse sink."),
    "autoscaler": ("console.commands.autoscaler", "Run the autoscaler."),
}


class LazyGroup(click.Group):
    """A group that imports a command's file when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, or None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error of ours is one sentence and exit status 2."""
        try:
            return super().invoke(ctx)
        except TokenpoolsError as error:
            click.echo(f"tokenpools: {error}", err=True)
            ctx.exit(2)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("tokenpools"), prog_name="tokenpools")
def main() -> None:
    """Meter LLM inference and share its capacity between tenants: token pools on Kafka.

    Connections are read from the environment (KAFKA_BOOTSTRAP_SERVERS, KAFKA_*, CLICKHOUSE_DSN);
    `tokenpools COMMAND --help` names every option with its variable.
    """
    problem = ownership_problem(packages_distributions())
    if problem is not None:
        click.echo(f"tokenpools: {problem}", err=True)
        sys.exit(2)
