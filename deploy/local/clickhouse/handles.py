"""Which handle runs a statement, and how many statements run at once?

A handle per statement, or the session's own where the session keeps state.  At most
``QUERIES_MAX`` statements run; a bounded number of others wait a bounded time and are then told to
come again, so that a burst neither starves the machine nor piles up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from deploy.local.clickhouse import errors
from deploy.local.clickhouse.engine import Engine, Handle, Scope
from deploy.local.clickhouse.request import SessionRef
from deploy.local.clickhouse.sessions import Session, SessionBook

QUERIES_MAX: Final = 8
WAITING_MAX: Final = 64
WAIT_S_MAX: Final = 10.0
KILLERS_MAX: Final = 1  # threads that stop queries: never taken by queries themselves

T = TypeVar("T")


class Handles:
    """Hands out handles.  Its methods are called from the event loop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.executor = ThreadPoolExecutor(QUERIES_MAX, thread_name_prefix="query")
        self.killers = ThreadPoolExecutor(KILLERS_MAX, thread_name_prefix="kill")
        self._slots = asyncio.Semaphore(QUERIES_MAX)
        self._waiting = 0
        self._sessions = SessionBook[Handle]()

    async def run(self, call: Callable[[], T]) -> T:
        """Run a blocking ``call`` in the pool of the queries."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, call)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the places for running statements, or refuse with error 202."""
        if self._waiting >= WAITING_MAX:
            raise _too_many()
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await self._slots.acquire()
        except TimeoutError as failure:
            raise _too_many() from failure
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    @asynccontextmanager
    async def handle(
        self, scope: Scope, *, session: SessionRef | None, keeps_state: bool
    ) -> AsyncIterator[Handle]:
        """Hold the handle for one statement, with ``scope`` applied to it."""
        if session is None:
            async with self._own(scope) as handle:
                yield handle
            return
        async with self._in_session(session) as kept:
            if kept.handle is None and keeps_state:
                kept.handle = await self.run(self.engine.handle)
            borrowed = self._own(scope) if kept.handle is None else self._kept(kept.handle, scope)
            async with borrowed as handle:
                yield handle

    def close(self) -> None:
        """Stop what still runs, close what sessions keep, and end the threads."""
        self.engine.kill()
        for handle in self._sessions.close():
            handle.close()
        self.executor.shutdown()
        self.killers.shutdown()

    @asynccontextmanager
    async def _own(self, scope: Scope) -> AsyncIterator[Handle]:
        def opened() -> Handle:
            handle = self.engine.handle()
            try:
                handle.apply(scope)
            except errors.ClickHouseError:
                handle.close()
                raise
            return handle

        handle = await self.run(opened)
        try:
            yield handle
        finally:
            await self.run(handle.close)

    @asynccontextmanager
    async def _kept(self, handle: Handle, scope: Scope) -> AsyncIterator[Handle]:
        """Lend a session's handle; the request's own settings are undone afterwards.

        What the statement itself changes stays: a setting that is SET in the session and in the
        same request's URL is the one case where the URL's undoing wins.
        """
        before = await self.run(lambda: handle.restoring(scope))
        try:
            await self.run(lambda: handle.apply(scope))
            yield handle
        finally:
            await self.run(lambda: handle.run(before, "Null"))

    @asynccontextmanager
    async def _in_session(self, ref: SessionRef) -> AsyncIterator[Session[Handle]]:
        clock = asyncio.get_running_loop().time
        await self._sweep(clock())
        session = self._sessions.enter(ref, now_s=clock())
        try:
            yield session
        finally:
            self._sessions.leave(session, ref, now_s=clock())
            await self._sweep(clock())

    async def _sweep(self, now_s: float) -> None:
        for handle in self._sessions.sweep(now_s=now_s):
            await self.run(handle.close)


def _too_many() -> errors.ClickHouseError:
    return errors.refusal(
        errors.TOO_MANY_SIMULTANEOUS_QUERIES,
        f"Too many simultaneous queries. Maximum: {QUERIES_MAX}, waiting at most: {WAITING_MAX}.",
    )
