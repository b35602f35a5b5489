"""The command that runs one admitter; secrets come from the environment or from files."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from admission.serve import run
from admission.settings import Settings
from console.environment import KAFKA_VARIABLES, environment, options, read_text

ADMISSION_VARIABLES: Final = {
    "--host": ("TOKENPOOLS_ADMISSION_HOST", "Address to bind [127.0.0.1]."),
    "--port": ("TOKENPOOLS_ADMISSION_PORT", "Port to bind [8080]."),
    "--url": ("TOKENPOOLS_ADMISSION_URL", "URL that gateways reach this admitter at."),
    "--name": (
        "TOKENPOOLS_ADMISSION_NAME",
        "Name of this admitter; each start adds an incarnation.",
    ),
}


@click.command()
@options(KAFKA_VARIABLES, ADMISSION_VARIABLES)
def admission(**given: Any) -> None:
    """Run one admitter: it decides reservations in memory and follows `admission-state`.

    TOKENPOOLS_RESERVATION_KEY or TOKENPOOLS_RESERVATION_KEY_FILE holds the key, shared by all
    admitters, that signs reservation ids.
    """
    environ = environment(given, KAFKA_VARIABLES, ADMISSION_VARIABLES)
    sys.exit(run(Settings.from_env(environ, read_text=read_text)))
