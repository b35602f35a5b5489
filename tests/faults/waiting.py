"""Waiting for what can be observed, within a deadline that is named when it passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka.errors import KafkaError

from schemas.errors import RecoverableError

POLL_S: Final = 0.1
AWAY: Final = (KafkaError, OSError, RecoverableError, TimeoutError)
"""What a question to a server that is away may end in: ask again."""


class StuckError(Exception):
    """Something that had to happen did not, within its deadline."""


async def until(
    condition: Callable[[], Awaitable[bool]],
    *,
    what: str,
    within_s: float,
    poll_s: float = POLL_S,
) -> None:
    """Return once the condition holds; a server that is away counts as "not yet"."""
    ends_s = time.monotonic() + within_s
    failure: BaseException | None = None
    while True:
        try:
            if await condition():
                return
        except AWAY as error:
            failure = error
        if time.monotonic() > ends_s:
            raise StuckError(f"not within {within_s:.0f} s: {what}") from failure
        await asyncio.sleep(poll_s)
