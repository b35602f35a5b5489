"""How does a process of ours end when it is told to?  In order once it works, at once before that.

While a process still waits for a broker or a database, nothing is half done and waiting on would
only delay the end; once it works, it gets a bounded time to finish what it has begun.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

from schemas.errors import RecoverableError

FINISH_S_MAX: Final = 9.0
"""How long the end of a process may take once it works; the supervisor waits for 10 s."""

Work = Callable[[asyncio.Event, asyncio.Event], Coroutine[Any, Any, None]]
"""Called with ``stop`` and ``working`` of ``run_until_stopped``."""


class CancelledUnaskedError(RecoverableError):
    """A library cancelled our task, as aiokafka may when its broker dies: that is no clean end."""

    def __init__(self) -> None:
        super().__init__(
            "what this process waited for was cancelled, as happens when the broker ends "
            "meanwhile: once it answers, start this process again"
        )


async def run_until_signal(work: Work) -> None:
    """Run ``work`` until it ends, or SIGTERM or SIGINT tells it to."""
    stop, working = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run_until_stopped(
        work(stop, working), stop=stop, working=working, finish_s_max=FINISH_S_MAX
    )


async def run_until_stopped(
    work: Coroutine[Any, Any, None],
    *,
    stop: asyncio.Event,
    working: asyncio.Event,
    finish_s_max: float,
) -> None:
    """Run ``work`` until it ends or ``stop`` is set; raise what it raises.

    ``work`` sets ``working`` when it must be allowed to finish: from then on it watches ``stop``
    itself and has ``finish_s_max`` seconds.
    """
    task = asyncio.create_task(work, name="work")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and working.is_set():
            await asyncio.wait({task}, timeout=finish_s_max)
        if not task.done():
            task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        elif not stop.is_set():
            raise CancelledUnaskedError
    finally:
        stopping.cancel()
        task.cancel()
