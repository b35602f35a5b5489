"""How does a SELECT's answer reach the client in bounded memory, and how is it stopped?

The engine writes into a pipe from a thread of the pool; the event loop reads the other end.  The
pipe and the reader's buffer are all that is ever held: when the client is slow, the engine waits.
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
BUFFER_BYTES: Final = 524_288  # asyncio stops reading the pipe at twice this
CANCEL_ATTEMPTS_MAX: Final = 50
CANCEL_WAIT_S: Final = 0.2


class RowStream:
    """A running SELECT: read its ``pieces``, then ask for its ``summary`` (or its error)."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
        pouring: asyncio.Future[Summary],
        *,
        marker: str,
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._pouring = pouring
        self._marker = marker

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what has not been read yet, until the query ends, well or not."""
        while piece := await self._reader.read(PIECE_BYTES_MAX):
            yield piece

    async def summary(self) -> Summary:
        """Return what the finished query counted, or raise what it failed with."""
        return await self._pouring

    async def stop(self, engine: Engine, executor: Executor) -> None:
        """End the query if it still runs, and give back the pipe.  Harmless afterwards.

        The kill is repeated because the query may not have begun when it is first sent.
        """
        loop = asyncio.get_running_loop()
        for _ in range(CANCEL_ATTEMPTS_MAX):
            if self._pouring.done():
                break
            await loop.run_in_executor(executor, engine.kill, self._marker)
            self._transport.close()
            await asyncio.wait((self._pouring,), timeout=CANCEL_WAIT_S)
        self._transport.close()
        if self._pouring.done():
            self._pouring.exception()


async def start(
    handle: Handle, statement: Statement, *, answer_format: str, executor: Executor
) -> RowStream:
    """Run ``statement`` in ``executor`` and return its answer as a stream."""
    loop = asyncio.get_running_loop()
    marker = f"/* {uuid.uuid4()} */"
    read_fd, write_fd = os.pipe()
    reader = asyncio.StreamReader(limit=BUFFER_BYTES)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", 0)
    )

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

    pouring = loop.run_in_executor(executor, pour)
    return RowStream(reader, transport, pouring, marker=marker)
