"""The guard: an error in our code ends the process, where Faust would log it and go on.

Faust restarts an agent that raised and swallows what a recovery callback raises; either would skip
records or run on half a ledger.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Guard:
    """A context manager that keeps the first error for the entry point to end with."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: BaseException) -> None:
        """Let ``failed`` raise the error."""
        if not self.failed.done():
            self.failed.set_exception(error)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            self.fail(error)
