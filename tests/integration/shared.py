"""Servers that the workers of one run share: one of each, however many workers there are.

The first worker to need a server starts it and the others use it.  Who started it waits at the end
of its tests until nobody uses it any more, and stops it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

Stop = Callable[[], object]
Start = Callable[[], tuple[str, Stop]]
"""Starts a server; returns its address and what stops it."""


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
