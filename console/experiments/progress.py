"""Progress: how many runs are done, on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES_MAX: Final = 10
"""Without a terminal, progress is told at most so often."""


class Runs:
    """Shows the runs of one command; call it with (done, of how many)."""

    def __init__(self, console: Console, *, about: str) -> None:
        self._console = console
        self._about = about
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("runs"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(about, total=None)

    def __enter__(self) -> Runs:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that so many runs are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif done * LINES_MAX // total > (done - 1) * LINES_MAX // total:
            self._console.print(f"{self._about}: {done} of {total} runs", highlight=False)
