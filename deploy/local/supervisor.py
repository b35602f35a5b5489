"""Are our processes running, and what happens when one dies?

The supervisor starts child processes in order, restarts one that dies with exponential back-off,
names every such event, and stops all of them in reverse order within a bound.  Children get their
own session, so Ctrl-C reaches the supervisor alone and it decides the order of stopping.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

BACKOFF_FIRST_S: Final = 0.25
BACKOFF_MAX_S: Final = 10.0
STABLE_AFTER_S: Final = 20.0
"""A process that ran this long starts again at the first back-off."""


class ProcessEvent(StrEnum):
    """What the supervisor names on screen."""

    STARTED = "started"
    DIED = "died"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True)
class ProcessSpec:
    """One child: how it is started, where its output goes, how long it may take to stop."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_path: Path
    stop_s_max: float = 10.0


Notice = Callable[[str, ProcessEvent, str], None]
"""Called with the process's name, what happened, and details for a person."""


@dataclass
class Child:
    """One supervised process, as it is now."""

    spec: ProcessSpec
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    started_s: float = 0.0
    watcher: asyncio.Task[None] | None = None
    log: IO[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self.process
        return process.pid if process is not None and process.returncode is None else None


class Supervisor:
    """Starts, watches, restarts and stops child processes."""

    def __init__(self, *, notice: Notice) -> None:
        self._notice = notice
        self._children: dict[str, Child] = {}
        self._stopping = False

    @property
    def children(self) -> dict[str, Child]:
        """The supervised processes by name, in order of their start."""
        return dict(self._children)

    async def start(self, spec: ProcessSpec) -> Child:
        """Start a process and watch it from now on."""
        assert spec.name not in self._children
        child = Child(spec)
        self._children[spec.name] = child
        await self._spawn(child)
        child.watcher = asyncio.create_task(self._watch(child), name=f"watch {spec.name}")
        return child

    async def stop(self) -> None:
        """Stop all processes, last started first, each within its bound."""
        self._stopping = True
        for child in reversed(self._children.values()):
            await self._stop(child)

    async def _spawn(self, child: Child) -> None:
        spec = child.spec
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        child.log = spec.log_path.open("ab")
        child.process = await asyncio.create_subprocess_exec(
            *spec.command,
            env={**os.environ, **spec.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=child.log,
            stderr=child.log,
            start_new_session=True,
        )
        child.started_s = time.monotonic()
        self._notice(spec.name, ProcessEvent.STARTED, f"pid {child.process.pid}")

    async def _watch(self, child: Child) -> None:
        backoff_s = BACKOFF_FIRST_S
        while True:
            assert child.process is not None
            status = await child.process.wait()
            _close(child)
            if self._stopping:
                return
            if time.monotonic() - child.started_s > STABLE_AFTER_S:
                backoff_s = BACKOFF_FIRST_S
            self._notice(child.spec.name, ProcessEvent.DIED, _death(child, status))
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
            child.restarts += 1
            self._notice(child.spec.name, ProcessEvent.RESTARTING, f"restart {child.restarts}")
            await self._spawn(child)

    async def _stop(self, child: Child) -> None:
        process = child.process
        if child.watcher is not None and (process is None or process.returncode is not None):
            child.watcher.cancel()
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), child.spec.stop_s_max)
            self._notice(child.spec.name, ProcessEvent.STOPPED, f"status {process.returncode}")
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            self._notice(
                child.spec.name, ProcessEvent.KILLED, f"no exit within {child.spec.stop_s_max:g} s"
            )
        if child.watcher is not None:
            await asyncio.gather(child.watcher, return_exceptions=True)
        _close(child)


def _death(child: Child, status: int) -> str:
    cause = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    return f"{cause}, see {child.spec.log_path}"


def _close(child: Child) -> None:
    if child.log is not None:
        child.log.close()
        child.log = None
