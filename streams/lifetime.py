"""How does a process of ours end when it is told to?  In order once it works, at once before that.

While a process still waits for a broker or a database, nothing is half done and waiting on would
only delay the end; once it works, it gets a bounded time to finish what it has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


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
    finally:
        stopping.cancel()
        task.cancel()
