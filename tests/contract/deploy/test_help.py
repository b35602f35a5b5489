"""``--help`` names settings and shows no value that the environment has."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from console.cli import COMMANDS, main

SECRETS = {
    "KAFKA_SASL_PASSWORD": "hunter2-sasl",
    "KAFKA_SSL_KEY_PASSWORD": "hunter2-key",
    "CLICKHOUSE_PASSWORD": "hunter2-clickhouse",
    "CLICKHOUSE_DSN": "clickhouse://user:hunter2-dsn@127.0.0.1/tokenpools",
    "TOKENPOOLS_RESERVATION_KEY": "hunter2-reservation",
}
NO_OPTION_FOR = ("PASSWORD", "RESERVATION_KEY")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_no_secret_of_the_environment(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"], env=SECRETS)

    assert shown.exit_code == 0
    assert "hunter2" not in shown.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_option_takes_a_secret_because_process_lists_show_options(name: str) -> None:
    with click.Context(main) as context:
        command = main.get_command(context, name)
    assert command is not None

    for parameter in command.params:
        text = getattr(parameter, "help", "") or ""
        assert not text.endswith(tuple(f"{word}." for word in NO_OPTION_FOR))
        assert not {"password", "secret", "token", "key"} & set((parameter.name or "").split("_"))
