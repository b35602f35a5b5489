"""The pipeline: writes of folds that are under way while the next one is folded.

Of each fold, what comes before its changelog batch (``first``) is begun at once.  The changelog
batch (``then``) is sent when that has been acknowledged, and when the changelog batch of the
partition's fold before it has been; so each partition's changelog grows fold by fold, and nothing
of a fold is in it before its verdicts, forwards and rollups are out.  What is under way is bounded
in folds and in bytes.  After a failed write nothing more is begun: the process ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streams import metrics


@dataclass(frozen=True)
class Write:
    """What has to be written of one fold."""

    first: Callable[[], Awaitable[None]]
    then: Callable[[], Awaitable[None]]
    size_bytes: int
    """Of the changelog batch, before compression."""


class Pipeline:
    """The writes of one process; partitions do not wait for each other."""

    def __init__(
        self, *, writes_max: int, bytes_max: int, on_failed: Callable[[BaseException], None]
    ) -> None:
        self._writes_max = writes_max
        self._bytes_max = bytes_max
        self._on_failed = on_failed
        self._under_way: dict[asyncio.Task[None], Write] = {}
        self._last: dict[int, asyncio.Task[None]] = {}
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
        task = asyncio.create_task(
            _written(write, after=self._last.get(partition)), name=f"write {partition}"
        )
        self._last[partition] = task
        self._under_way[task] = write
        self._size_bytes += write.size_bytes
        self._measure()
        task.add_done_callback(lambda done: self._end(partition, done))

    def abandon(self) -> None:
        """Wait for nothing more; what is under way may still reach the broker."""
        for task in self._under_way:
            task.cancel()

    def _end(self, partition: int, task: asyncio.Task[None]) -> None:
        self._size_bytes -= self._under_way.pop(task).size_bytes
        if self._last.get(partition) is task:
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


async def _written(write: Write, *, after: asyncio.Task[None] | None) -> None:
    await write.first()
    if after is not None:
        await asyncio.wait((after,))
        after.result()
    await write.then()
