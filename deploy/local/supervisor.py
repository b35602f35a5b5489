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
from typing import Final

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
    stage: int = 0
    """Stopped by stage, highest first; the children of one stage are stopped together."""


Notice = Callable[[str, ProcessEvent, str], None]
"""Called with the process's name, what happened, and details for a person."""


@dataclass
class Child:
    """One supervised process, as it is now."""

    spec: ProcessSpec
    process: asyncio.subprocess.Process | None = None
    spawning: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held while a process is being made, so that nobody stops a child half way."""
    restarts: int = 0
    started_s: float = 0.0
    backoff_s: float = BACKOFF_FIRST_S
    watcher: asyncio.Task[None] | None = None

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
        self._stopping = asyncio.Event()

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
        """Stop all processes, highest stage first, each within its bound; nothing starts again."""
        self._stopping.set()
        for stage in sorted({child.spec.stage for child in self._children.values()}, reverse=True):
            children = [each for each in self._children.values() if each.spec.stage == stage]
            await asyncio.gather(*(self._stop(child) for child in children))

    async def _spawn(self, child: Child) -> bool:
        """Start the child's process, or return False when everything is being stopped."""
        async with child.spawning:
            if self._stopping.is_set():
                return False
            spec = child.spec
            spec.log_path.parent.mkdir(parents=True, exist_ok=True)
            with spec.log_path.open("ab") as log:
                child.process = await asyncio.create_subprocess_exec(
                    *spec.command,
                    env={**os.environ, **spec.environment},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            child.started_s = time.monotonic()
        self._notice(spec.name, ProcessEvent.STARTED, f"pid {child.process.pid}")
        return True

    async def _watch(self, child: Child) -> None:
        while True:
            assert child.process is not None
            status = await child.process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - child.started_s > STABLE_AFTER_S:
                child.backoff_s = BACKOFF_FIRST_S
            self._notice(child.spec.name, ProcessEvent.DIED, _death(child, status))
            if not await self._restarted(child):
                return

    async def _restarted(self, child: Child) -> bool:
        """Try until the child runs again, or return False when everything is being stopped."""
        while not await self._stopping_within(child.backoff_s):
            child.backoff_s = min(2 * child.backoff_s, BACKOFF_MAX_S)
            child.restarts += 1
            self._notice(child.spec.name, ProcessEvent.RESTARTING, f"restart {child.restarts}")
            try:
                return await self._spawn(child)
            except OSError as error:
                self._notice(child.spec.name, ProcessEvent.DIED, f"it cannot be started: {error}")
        return False

    async def _stopping_within(self, pause_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause_s)
        return self._stopping.is_set()

    async def _stop(self, child: Child) -> None:
        async with child.spawning:
            process = child.process
        if process is not None and process.returncode is None:
            self._notice(child.spec.name, *await _ended(process, within_s=child.spec.stop_s_max))
        if child.watcher is not None:
            await child.watcher


async def _ended(
    process: asyncio.subprocess.Process, *, within_s: float
) -> tuple[ProcessEvent, str]:
    """Ask a process to end, end it when its time is up, and return what to tell about it."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), within_s)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return ProcessEvent.KILLED, f"no exit within {within_s:g} s"
    return ProcessEvent.STOPPED, f"status {process.returncode}"


def _death(child: Child, status: int) -> str:
    cause = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    return f"{cause}, see {child.spec.log_path}"
