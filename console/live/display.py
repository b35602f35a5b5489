"""How is the view kept on screen?  A terminal is redrawn; anything else gets plain lines.

Use it as an async context manager around whatever runs meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

from console.live.render import reasons_text, replicas_text, screen
from console.live.view import LoopView, PoolRow

REDRAW_S: Final = 0.25
LINES_EVERY_S: Final = 5.0


class Head:
    """What stands above the pools: nothing, or the progress of what runs meanwhile."""

    def renderables(self) -> Sequence[RenderableType]:
        """Return what a terminal shows."""
        return ()

    def lines(self) -> Sequence[str]:
        """Return what is printed where there is no terminal."""
        return ()


class Display:
    """Shows a ``LoopView`` until it is left."""

    def __init__(self, view: LoopView, *, console: Console, head: Head | None = None) -> None:
        self._view = view
        self._console = console
        self._head = head or Head()
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._notes_said = 0

    async def __aenter__(self) -> Display:
        show = self._redraw if self._console.is_terminal else self._lines
        self._task = asyncio.create_task(show(), name="display")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _redraw(self) -> None:
        with Live(self._screen(), console=self._console, auto_refresh=False, screen=False) as live:
            while not await self._stopped_within(REDRAW_S):
                live.update(self._screen(), refresh=True)
            live.update(self._screen(), refresh=True)

    async def _lines(self) -> None:
        while not await self._stopped_within(LINES_EVERY_S):
            self._print_lines()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _screen(self) -> RenderableType:
        return screen(self._view, head=self._head.renderables())

    def _print_lines(self) -> None:
        for line in self._head.lines():
            self._console.print(line, highlight=False, soft_wrap=True)
        for pool in self._view.pools():
            self._console.print(pool_line(pool), highlight=False, soft_wrap=True)
        total = self._view.notes_total
        for note in self._view.notes(total - self._notes_said):
            self._console.print(f"  {note}", highlight=False, soft_wrap=True)
        self._notes_said = total


def pool_line(pool: PoolRow) -> str:
    """Return one pool as one line."""
    entitlements = "; ".join(
        f"{row.entitlement} held {row.held_slots} debt {row.debt_ppm / 1_000_000:+.2f} "
        f"admitted {row.admitted} refused {sum(row.refused.values())}"
        + (f" ({reasons_text(row.refused)})" if row.refused else "")
        for row in pool.entitlements
    )
    return (
        f"{pool.name}: slots {pool.held_slots}/{pool.capacity.slots}, "
        f"tokens/s {pool.served_tokens_per_s}/{pool.capacity.tokens_per_s}, "
        f"{replicas_text(pool)} | {entitlements}"
    )
