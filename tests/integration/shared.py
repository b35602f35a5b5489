"""Servers that the workers of one run share: one of each, however many workers there are.

The first worker to need a server starts it and the others use it.  Who started it waits at the end
of its tests until nobody uses it any more, and stops it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

Stop = Callable[[], object]
Start = Callable[[], tuple[str, Stop]]
"""Starts a server; returns its address and what stops it."""


class AtEnd:
    """What one process of a run does after its last test, outside of every test's deadline."""

    def __init__(self) -> None:
        self._kept = ExitStack()

    def keep(self, stop: Stop) -> None:
        """Do this then; what was kept last is done first."""
        self._kept.callback(stop)

    def pytest_sessionfinish(self) -> None:
        """Do everything that was kept."""
        self._kept.close()


def shared_by_the_run(
    name: str, start: Start, *, config: pytest.Config, folders: pytest.TempPathFactory
) -> str:
    """Return the address of this run's server of this name, started now if nobody has."""
    at_end = AtEnd()
    config.pluginmanager.register(at_end)
    folder = folders.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    return shared_address(
        folder.parent if is_worker else folder, name, start=start, at_end=at_end.keep
    )


def shared_address(folder: Path, name: str, *, start: Start, at_end: Callable[[Stop], None]) -> str:
    """Return the address of the server of this name, which runs until the end of the tests.

    ``folder`` is the same for all workers of the run; ``at_end`` keeps what each does at its end.
    """
    users = (folder / f"{name}.users").open("w")
    fcntl.flock(users, fcntl.LOCK_SH)
    written = folder / f"{name}.address"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if written.exists():
            at_end(users.close)
            return written.read_text(encoding="ascii")
        address, stop = start()
        written.write_text(address, encoding="ascii")

    def end() -> None:
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            written.unlink()  # who comes from now on starts another
        fcntl.flock(users, fcntl.LOCK_EX)  # returns when nobody else uses it
        try:
            stop()
        finally:
            users.close()

    at_end(end)
    return address
