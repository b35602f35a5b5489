"""Waiting for what can be observed, never for a time; each deadline has a name."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

T = TypeVar("T")

START_S_MAX: Final = 20.0
"""Until a process serves or a state is applied."""
STOP_S_MAX: Final = 10.0
"""Until a process has ended after SIGTERM."""
_LOOK_AGAIN_S: Final = 0.05


@overload
async def eventually(look: Callable[[], Awaitable[T | None]], *, within_s: float) -> T: ...
@overload
async def eventually(look: Callable[[], T | None], *, within_s: float) -> T: ...
async def eventually(look: Callable[[], Any], *, within_s: float) -> Any:
    """Return the first thing that ``look`` finds; fail when the deadline passes without."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        found = await seen if inspect.isawaitable(seen) else seen
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not seen within {within_s} s: {look}")
        await asyncio.sleep(_LOOK_AGAIN_S)
