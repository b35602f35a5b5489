"""Runs history with a fuse: production's own entry, its database client and its feed wrapped."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from schemas.connections import ClickHouseOptions
from streams.history import client, feed, service, writer
from streams.history.settings import Settings
from tests.faults.fuse import Fuse, Point

FUSE: Final = Fuse.from_env(os.environ)
FIRST_TABLE: Final = "usage_raw"
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
        """Insert columns, if it comes to that."""
        is_first = context.table.strip("`").endswith(FIRST_TABLE)
        if not is_first:
            FUSE.passes(Point.MID_INSERT)
        columns = context.data
        rows = len(columns[0])
        if self._loses_rows and is_first and rows > 1:
            self._loses_rows = False
            context.data = _slice(columns, rows // 2, rows)
        elif rows > 1 and FUSE.due(Point.TORN_INSERT):
            context.data = _slice(columns, 0, rows // 2)
            self._real.data_insert(context)
            FUSE.burn()
        return self._real.data_insert(context)


class FusedConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka ships no types
    """A consumer that says when it has partitions, and passes the point before a commit."""

    _has_said = False

    async def getmany(self, *partitions: Any, **options: Any) -> Any:
        """Poll."""
        if not self._has_said and self.assignment():
            self._has_said = True
            print(READING, flush=True)
        return await super().getmany(*partitions, **options)

    async def commit(self, offsets: Any = None) -> None:
        """Commit, if it comes to that."""
        FUSE.passes(Point.BEFORE_COMMIT)
        await super().commit(offsets)


def _slice(data: Sequence[Sequence[Any]], begin: int, end: int) -> list[Sequence[Any]]:
    return [column[begin:end] for column in data]


def connect(options: ClickHouseOptions) -> Any:
    """Return a client with a fuse."""
    return FusedClient(client.connect(options))


def main() -> int:
    """Run history."""
    setattr(writer, "connect", connect)  # noqa: B010 - the writer has no door for another client
    setattr(feed, "AIOKafkaConsumer", FusedConsumer)  # noqa: B010 - nor the feed for a consumer
    settings = Settings.from_env(os.environ, read_text=lambda path: Path(path).read_text())
    return service.run(settings)


if __name__ == "__main__":
    sys.exit(main())
