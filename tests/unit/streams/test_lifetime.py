"""How does a process end when it is told to?"""

from __future__ import annotations

import asyncio

import pytest

from streams.lifetime import CancelledUnaskedError, run_until_stopped

SOON_S = 5.0


class Work:
    """Waits for a server, then works until told to stop, then has something to finish."""

    def __init__(self, *, finishes: bool = True) -> None:
        self.stop = asyncio.Event()
        self.working = asyncio.Event()
        self.answered = asyncio.Event()
        self.ended = ""
        self._finishes = finishes

    async def run(self) -> None:
        try:
            await self.answered.wait()
            self.working.set()
            await self.stop.wait()
            if not self._finishes:
                await asyncio.Event().wait()
            self.ended = "in order"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise

    async def lifetime(self, *, finish_s_max: float = SOON_S) -> None:
        async with asyncio.timeout(2 * SOON_S):
            await run_until_stopped(
                self.run(), stop=self.stop, working=self.working, finish_s_max=finish_s_max
            )


async def test_what_still_waits_for_a_server_ends_at_once() -> None:
    work = Work()
    work.stop.set()

    await work.lifetime()

    assert work.ended == "cancelled"


async def test_what_works_finishes_what_it_has_begun() -> None:
    work = Work()
    work.answered.set()
    lifetime = asyncio.create_task(work.lifetime())
    await work.working.wait()
    work.stop.set()

    await lifetime

    assert work.ended == "in order"


async def test_what_does_not_finish_in_time_is_cancelled() -> None:
    work = Work(finishes=False)
    work.answered.set()
    lifetime = asyncio.create_task(work.lifetime(finish_s_max=0.01))
    await work.working.wait()
    work.stop.set()

    await lifetime

    assert work.ended == "cancelled"


async def test_what_fails_by_itself_says_why() -> None:
    async def fail() -> None:
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        await run_until_stopped(
            fail(), stop=asyncio.Event(), working=asyncio.Event(), finish_s_max=SOON_S
        )


async def test_a_task_that_a_library_cancels_has_failed_and_not_ended_in_order() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CancelledUnaskedError):
        await run_until_stopped(
            cancelled(), stop=asyncio.Event(), working=asyncio.Event(), finish_s_max=SOON_S
        )
