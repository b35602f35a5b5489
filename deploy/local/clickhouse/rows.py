"""How does a SELECT's answer reach the client in bounded memory, and how is it stopped?

The engine writes into a pipe from a thread of the pool; the event loop reads the other end.  The
pipe and one piece are all that is ever held: when the client is slow, the engine waits.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Final

from deploy.local.clickhouse.engine import Engine, Handle, Summary
from deploy.local.clickhouse.statement import Statement

PIECE_BYTES_MAX: Final = 262_144
CANCEL_ATTEMPTS_MAX: Final = 50
CANCEL_WAIT_S: Final = 0.2


class RowStream:
    """A running SELECT: read its ``pieces``, then ask for its ``summary`` (or its error)."""

    def __init__(self, read_fd: int, pouring: asyncio.Future[Summary], *, marker: str) -> None:
        self._read_fd: int | None = read_fd
        self._pouring = pouring
        self._marker = marker

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what has not been read yet, until the query ends, well or not."""
        while self._read_fd is not None:
            try:
                piece = os.read(self._read_fd, PIECE_BYTES_MAX)
            except BlockingIOError:
                await _readable(self._read_fd)
                continue
            if not piece:
                return
            yield piece

    async def summary(self) -> Summary:
        """Return what the finished query counted, or raise what it failed with."""
        return await asyncio.shield(self._pouring)

    async def kill(self, engine: Engine, executor: Executor) -> None:
        """End the query if it still runs.  ``pieces`` may be read meanwhile.

        Repeated because the query may not have begun when the first kill is sent.
        """
        loop = asyncio.get_running_loop()
        for _ in range(CANCEL_ATTEMPTS_MAX):
            if self._pouring.done():
                return
            await loop.run_in_executor(executor, engine.kill, self._marker)
            await asyncio.wait((self._pouring,), timeout=CANCEL_WAIT_S)

    async def close(self, engine: Engine, executor: Executor) -> None:
        """Give back the pipe, and end a query that nobody reads any more."""
        if self._read_fd is not None:
            os.close(self._read_fd)
            self._read_fd = None
        await self.kill(engine, executor)
        if self._pouring.done() and not self._pouring.cancelled():
            self._pouring.exception()


def start(
    handle: Handle, statement: Statement, *, answer_format: str, executor: Executor
) -> RowStream:
    """Run ``statement`` in ``executor`` and return its answer as a stream."""
    marker = f"/* {uuid.uuid4()} */"
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)

    def pour() -> Summary:
        try:
            return handle.pour(
                statement.text,
                answer_format=answer_format,
                tail=f"{statement.tail} {marker}",
                into_fd=write_fd,
            )
        finally:
            os.close(write_fd)

    pouring = asyncio.get_running_loop().run_in_executor(executor, pour)
    return RowStream(read_fd, pouring, marker=marker)


async def _readable(fd: int) -> None:
    """Return when ``fd`` can be read without waiting."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
