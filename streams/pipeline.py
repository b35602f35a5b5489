"""The pipeline: writes of folds that are under way while the next one is folded.

In each partition everything is in the order of the folds.  What comes before a fold's changelog
batch (``first``: verdicts, forwards, rollups) is begun when that of the fold before has been
acknowledged, because "judged through" must never be out while verdicts before it are not.  The
changelog batch (``then``) is sent when its own ``first`` and the changelog batch before it have
been.  What is under way is bounded in folds and in bytes.  After a failed write nothing more is
begun: the process ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from streams import metrics


@dataclass(frozen=True)
class Write:
    """What has to be written of one fold."""

    first: Callable[[], Awaitable[None]]
    then: Callable[[], Awaitable[None]]
    size_bytes: int
    """Of the changelog batch, before compression."""


class UnderWay(NamedTuple):
    """The two tasks of a write."""

    first: asyncio.Task[None]
    then: asyncio.Task[None]


class Pipeline:
    """The writes of one process; partitions do not wait for each other."""

    def __init__(
        self, *, writes_max: int, bytes_max: int, on_failed: Callable[[BaseException], None]
    ) -> None:
        self._writes_max = writes_max
        self._bytes_max = bytes_max
        self._on_failed = on_failed
        self._under_way: dict[asyncio.Task[None], Write] = {}
        self._last: dict[int, UnderWay] = {}
        """By partition: what the next write follows."""
        self._size_bytes = 0
        self._moved = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def has_room(self) -> bool:
        """Whether another fold may be written."""
        return len(self._under_way) < self._writes_max and self._size_bytes < self._bytes_max

    async def room(self) -> None:
        """Return when another fold may be written; raise what a write failed with."""
        while not self.has_room:
            await self._movement()
        self._check()

    async def drained(self) -> None:
        """Return when nothing is under way; raise what a write failed with."""
        while self._under_way:
            await self._movement()
        self._check()

    def put(self, partition: int, write: Write) -> None:
        """Begin to write; ask for ``room`` first."""
        self._check()
        before = self._last.get(partition)
        first = asyncio.create_task(_following(write.first, *(before[:1] if before else ())))
        then = asyncio.create_task(_following(write.then, first, *(before[1:] if before else ())))
        self._last[partition] = UnderWay(first, then)
        self._under_way[then] = write
        self._size_bytes += write.size_bytes
        self._measure()
        then.add_done_callback(lambda done: self._end(partition, done))

    def abandon(self) -> None:
        """Wait for nothing more; what is under way may still reach the broker."""
        for each in self._last.values():
            each.first.cancel()
        for then in self._under_way:
            then.cancel()

    def _end(self, partition: int, task: asyncio.Task[None]) -> None:
        self._size_bytes -= self._under_way.pop(task).size_bytes
        last = self._last.get(partition)
        if last is not None and last.then is task:
            del self._last[partition]
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failure is None:
            self._failure = error
            self._on_failed(error)
        self._measure()
        self._moved.set()

    async def _movement(self) -> None:
        self._check()
        self._moved.clear()
        await self._moved.wait()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _measure(self) -> None:
        metrics.WRITES.set(len(self._under_way))
        metrics.WRITES_BYTES.set(self._size_bytes)


async def _following(work: Callable[[], Awaitable[None]], *before: asyncio.Task[None]) -> None:
    """Do the work once what comes before it has succeeded."""
    for each in before:
        await asyncio.wait((each,))
        each.result()
    await work()
