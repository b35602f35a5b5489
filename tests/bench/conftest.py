"""Collect what every bench measured; print it and keep it at the end of the run."""

from __future__ import annotations

from typing import Final

import pytest

from tests.bench.figures import BENCH_FILE, Figure, merge, table
from tests.integration.conftest import (  # noqa: F401 - the run's one broker
    kafka_bootstrap,
    kafka_jars,
)

_MEASURED: Final = pytest.StashKey[list[Figure]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing measured."""
    config.stash[_MEASURED] = []


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[Figure]:
    """The run's figures: append to them."""
    return request.config.stash[_MEASURED]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table and merge it into the file."""
    measured = config.stash[_MEASURED]
    if measured:
        terminalreporter.section("figures")
        for line in table(measured):
            terminalreporter.write_line(line)
        merge(BENCH_FILE, measured)
        terminalreporter.write_line(f"written to {BENCH_FILE}")
