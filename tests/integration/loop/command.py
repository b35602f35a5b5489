"""A ``tokenpools`` command as a process: its lines, its children, its end."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

LINE_S_MAX: Final = 90.0
"""A loaded machine may take this long between two things that a test waits for."""

END_S_MAX: Final = 120.0
POLL_S: Final = 0.05


class Command:
    """Runs ``tokenpools <arguments>`` and collects what it prints."""

    def __init__(
        self, arguments: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        clean = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "console", *arguments],
            cwd=cwd,
            env={**clean, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._unread: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.interrupt()
        self.ended()

    @property
    def text(self) -> str:
        """Everything printed so far."""
        return "\n".join(self.lines)

    def line(self, pattern: str) -> str:
        """Return the next line that matches; fail when none comes within ``LINE_S_MAX``."""
        deadline_s = time.monotonic() + LINE_S_MAX
        while True:
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, f"no line matched {pattern!r}:\n{self.text}"
            try:
                line = self._unread.get(timeout=left_s)
            except queue.Empty:
                continue
            assert line is not None, f"it ended before {pattern!r}:\n{self.text}"
            if re.search(pattern, line):
                return line

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def ended(self) -> int:
        """Return the exit status; fail when it does not end within ``END_S_MAX``."""
        status = self._process.wait(END_S_MAX)
        self._reader.join(END_S_MAX)
        return status

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))
                self._unread.put(line)
        self._unread.put(None)


def children_of(state_dir: Path) -> dict[str, int]:
    """Return the process ids of a loop's children by name, as it has written them down."""
    raw = msgspec.json.decode((state_dir / "processes.json").read_bytes())
    return {name: child["pid"] for name, child in raw.items()}


def runs(pid: int) -> bool:
    """Say whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _is_ours(name: str) -> bool:
    return name.startswith(("KAFKA_", "CLICKHOUSE_", "TOKENPOOLS_")) and "CACHE" not in name
