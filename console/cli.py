"""Which commands does an operator have?  ``tokenpools --help`` answers; each command is a file."""

from importlib.metadata import version

import click


@click.group()
@click.version_option(version("tokenpools"), prog_name="tokenpools")
def main() -> None:
    """Meter and share LLM inference capacity between tenants."""
