"""Runs a streams worker with a fuse: production's own entry, its writer and consumer subclassed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from faust.types import TP

from schemas.topics import CONSUMPTION_TABLE, USAGE, changelog_topic
from streams import driver, worker
from streams.kafka import Publisher
from streams.settings import from_env
from tests.faults.fuse import Fuse, Point

FUSE: Final = Fuse.from_env(os.environ)


class FusedPublisher(Publisher):
    """A publisher that passes the points around the ledger's changelog."""

    async def send_atomically(
        self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]]
    ) -> int:
        """Write a record batch, if it comes to that."""
        if not is_ledger_batch(topic, records, about=FUSE.about.encode()):
            return await super().send_atomically(topic, partition, records)
        FUSE.passes(Point.AFTER_VERDICTS)
        offset = await super().send_atomically(topic, partition, records)
        FUSE.passes(Point.AFTER_CHANGELOG)
        return offset


class FusedConsumer(driver.Consumer):
    """A consumer that passes the point before the commit of usage."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        if any(tp.topic.endswith(USAGE) for tp in offsets):
            FUSE.passes(Point.BEFORE_COMMIT)
        done: Any = await super()._commit(offsets)
        return bool(done)


def is_ledger_batch(
    topic: str, records: Sequence[tuple[bytes, bytes | None]], *, about: bytes
) -> bool:
    """Say whether it is the changelog batch of a fold (tombstones of a takeover are none).

    ``about``: how one of its keys must begin.
    """
    written = [key for key, value in records if value is not None]
    return (
        topic.endswith(changelog_topic(CONSUMPTION_TABLE))
        and any(key.startswith(b"p|") for key in written)
        and any(key.startswith(about) for key in written)
    )


def main() -> int:
    """Run the worker."""
    driver.Transport.Consumer = FusedConsumer
    settings = from_env(os.environ, read_text=lambda path: Path(path).read_text())
    return worker.run(settings, publisher_type=FusedPublisher)


if __name__ == "__main__":
    sys.exit(main())
