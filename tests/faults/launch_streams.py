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
from streams.record_batches import Built
from streams.settings import from_env
from tests.faults.fuse import Fuse, Point

FUSE: Final = Fuse.from_env(os.environ)
LEDGER: Final = changelog_topic(CONSUMPTION_TABLE)


class FusedPublisher(Publisher):
    """A publisher that passes the points around the ledger's changelog."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fused: set[int] = set()
        """Built batches of folds that are not sent yet, by identity."""

    def build(self, records: Sequence[tuple[bytes, bytes | None]]) -> Built:
        """Build a record batch, and remember it when the fuse is about it."""
        built = super().build(records)
        if is_fold(records, about=FUSE.about.encode()):
            self._fused.add(id(built))
        return built

    async def send_built(self, topic: str, partition: int, built: Built) -> int:
        """Write a record batch, if it comes to that."""
        if not topic.endswith(LEDGER) or id(built) not in self._fused:
            return await super().send_built(topic, partition, built)
        self._fused.discard(id(built))
        FUSE.passes(Point.AFTER_VERDICTS)
        offset = await super().send_built(topic, partition, built)
        FUSE.passes(Point.AFTER_CHANGELOG)
        return offset


class FusedConsumer(driver.Consumer):
    """A consumer that passes the point before the commit of usage."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        if any(tp.topic.endswith(USAGE) for tp in offsets):
            FUSE.passes(Point.BEFORE_COMMIT)
        done: Any = await super()._commit(offsets)
        return bool(done)


def is_fold(records: Sequence[tuple[bytes, bytes | None]], *, about: bytes) -> bool:
    """Say whether it is the changelog batch of a fold (tombstones of a takeover are none).

    ``about``: how one of its keys must begin.
    """
    written = [key for key, value in records if value is not None]
    return any(key.startswith(b"p|") for key in written) and any(
        key.startswith(about) for key in written
    )


def main() -> int:
    """Run the worker."""
    driver.Transport.Consumer = FusedConsumer
    settings = from_env(os.environ, read_text=lambda path: Path(path).read_text())
    return worker.run(settings, publisher_type=FusedPublisher)


if __name__ == "__main__":
    sys.exit(main())
