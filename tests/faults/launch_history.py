"""Runs history with a fuse: production's own entry, its database client and its feed wrapped."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import lz4.frame
from aiokafka import AIOKafkaConsumer

from schemas.connections import ClickHouseOptions
from streams.history import client, feed, service, usage_blocks, writer
from streams.history.settings import Settings
from tests.faults.fuse import Fuse, Point

FUSE: Final = Fuse.from_env(os.environ)
BLOCK_ROWS: Final = 8
"""Usage is encoded in blocks so small that an insert of little traffic can be torn in two."""
READING: Final = "event=partitions_assigned"
SABOTAGE: Final = "FAULTS_SABOTAGE"
"""Set by the campaign's check of itself: half the rows of the first batch of usage are lost."""


class FusedClient:
    """A ClickHouse client whose inserts pass the points within a batch."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._loses_rows = SABOTAGE in os.environ

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def data_insert(self, context: Any) -> Any:
        """Insert columns of any table but usage's, if it comes to that."""
        FUSE.passes(Point.MID_INSERT)
        columns = context.data
        rows = len(columns[0])
        if rows > 1 and FUSE.due(Point.TORN_INSERT):
            context.data = [column[: rows // 2] for column in columns]
            self._real.data_insert(context)
            FUSE.burn()
        return self._real.data_insert(context)

    def raw_insert(self, table: str, names: Any, body: bytes, **options: Any) -> Any:
        """Insert the blocks of usage, if it comes to that."""
        blocks = _frames(body)
        half = len(blocks) // 2
        if self._loses_rows and half:
            self._loses_rows = False
            body = b"".join(blocks[half:])
        elif half and FUSE.due(Point.TORN_INSERT):
            self._real.raw_insert(table, names, b"".join(blocks[:half]), **options)
            FUSE.burn()
        return self._real.raw_insert(table, names, body, **options)


class FusedConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka ships no types
    """A consumer that says when it has partitions, and passes the point before a commit."""

    _has_said = False

    def assignment(self) -> Any:
        """Return the partitions, as whoever polls asks for them."""
        assigned = super().assignment()
        if not self._has_said and assigned:
            self._has_said = True
            print(READING, flush=True)
        return assigned

    async def commit(self, offsets: Any = None) -> None:
        """Commit, if it comes to that."""
        FUSE.passes(Point.BEFORE_COMMIT)
        await super().commit(offsets)


def _frames(body: bytes) -> list[bytes]:
    """Return the frames of LZ4, a block each, that the body is made of."""
    frames = []
    while body:
        reader = lz4.frame.LZ4FrameDecompressor()
        reader.decompress(body)
        rest = reader.unused_data or b""
        frames.append(body[: len(body) - len(rest)])
        body = rest
    return frames


def connect(options: ClickHouseOptions) -> Any:
    """Return a client with a fuse."""
    return FusedClient(client.connect(options))


def main() -> int:
    """Run history."""
    setattr(writer, "connect", connect)  # noqa: B010 - the writer has no door for another client
    setattr(feed, "AIOKafkaConsumer", FusedConsumer)  # noqa: B010 - nor the feed for a consumer
    setattr(usage_blocks, "BLOCK_ROWS", BLOCK_ROWS)  # noqa: B010 - a constant
    settings = Settings.from_env(os.environ, read_text=lambda path: Path(path).read_text())
    return service.run(settings)


if __name__ == "__main__":
    sys.exit(main())
