"""The supervisor restarts what dies, names it, and stops everything in order and in time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local.supervisor import Child, ProcessEvent, ProcessSpec, Supervisor

DEADLINE_S = 20.0

OBEDIENT = """
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("to the log", flush=True)
door = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
door.sendall(b"up\\n")
signal.pause()
"""
STUBBORN = OBEDIENT.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")
ENDING = """
import sys
sys.exit(3)
"""


@dataclass
class Events:
    """Every notice, in order; ``wait_for`` returns once one of the kind has come."""

    seen: list[tuple[str, ProcessEvent, str]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, name: str, event: ProcessEvent, details: str) -> None:
        self.seen.append((name, event, details))
        self._changed.set()

    def of(self, *kinds: ProcessEvent) -> list[tuple[str, ProcessEvent]]:
        return [(name, event) for name, event, _ in self.seen if event in kinds]

    async def wait_for(self, kind: ProcessEvent, *, times: int = 1) -> str:
        """Return the details of the ``times``-th notice of this kind."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.of(kind)) < times:
                self._changed.clear()
                await self._changed.wait()
        return [details for _, event, details in self.seen if event is kind][times - 1]


class Door:
    """A loopback port at which children say that their signal handlers are set."""

    def __init__(self) -> None:
        self._arrivals: asyncio.Queue[None] = asyncio.Queue()
        self.port = 0

    async def __aenter__(self) -> Door:
        self._server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        self._arrivals.put_nowait(None)
        await reader.read()
        writer.close()

    async def arrival(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self._arrivals.get()


def spec(
    name: str,
    script: str,
    folder: Path,
    *,
    port: int = 0,
    stop_s_max: float = 10.0,
    stage: int = 0,
) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=[sys.executable, "-c", script, str(port)],
        environment={},
        log_path=folder / "logs" / f"{name}.log",
        stop_s_max=stop_s_max,
        stage=stage,
    )


def pid_of(child: Child) -> int:
    assert child.pid is not None
    return child.pid


async def test_a_child_killed_outright_is_named_and_runs_again(tmp_path: Path) -> None:
    events = Events()
    supervisor = Supervisor(notice=events)
    async with Door() as door:
        child = await supervisor.start(spec("history", OBEDIENT, tmp_path, port=door.port))
        await door.arrival()
        first = pid_of(child)

        os.kill(first, signal.SIGKILL)
        await door.arrival()
        await events.wait_for(ProcessEvent.STARTED, times=2)
        second = pid_of(child)
        await supervisor.stop()

    assert second != first
    assert child.restarts == 1
    assert [event for _, event, _ in events.seen] == [
        ProcessEvent.STARTED,
        ProcessEvent.DIED,
        ProcessEvent.RESTARTING,
        ProcessEvent.STARTED,
        ProcessEvent.STOPPED,
    ]
    assert {name for name, _, _ in events.seen} == {"history"}
    assert await events.wait_for(ProcessEvent.DIED) == (
        f"signal SIGKILL, see {tmp_path / 'logs' / 'history.log'}"
    )
    assert (tmp_path / "logs" / "history.log").read_text() == "to the log\nto the log\n"


async def test_a_child_that_ends_by_itself_is_named_with_its_status_and_tried_ever_more_slowly(
    tmp_path: Path,
) -> None:
    events = Events()
    supervisor = Supervisor(notice=events)
    child = await supervisor.start(spec("streams-1", ENDING, tmp_path))
    first_backoff_s = child.backoff_s

    died = await events.wait_for(ProcessEvent.DIED, times=2)
    await supervisor.stop()

    assert died.startswith("status 3, see ")
    assert child.restarts >= 1
    assert child.backoff_s >= 2 * first_backoff_s


async def test_children_are_stopped_stage_by_stage_the_highest_first(tmp_path: Path) -> None:
    events = Events()
    supervisor = Supervisor(notice=events)
    async with Door() as door:
        for stage, name in ((1, "streams-1"), (0, "kafka"), (2, "admission-1")):
            await supervisor.start(spec(name, OBEDIENT, tmp_path, port=door.port, stage=stage))
            await door.arrival()

        await supervisor.stop()

    assert events.of(ProcessEvent.STOPPED, ProcessEvent.KILLED) == [
        ("admission-1", ProcessEvent.STOPPED),
        ("streams-1", ProcessEvent.STOPPED),
        ("kafka", ProcessEvent.STOPPED),
    ]
    assert [child.pid for child in supervisor.children.values()] == [None, None, None]


async def test_a_child_that_ignores_sigterm_is_killed_after_its_bound(tmp_path: Path) -> None:
    events = Events()
    supervisor = Supervisor(notice=events)
    async with Door() as door:
        stubborn = spec("streams-1", STUBBORN, tmp_path, port=door.port, stop_s_max=0.2)
        child = await supervisor.start(stubborn)
        await door.arrival()
        pid = pid_of(child)

        await supervisor.stop()

    assert events.seen[-1] == ("streams-1", ProcessEvent.KILLED, "no exit within 0.2 s")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_nothing_starts_again_once_everything_is_being_stopped(tmp_path: Path) -> None:
    events = Events()
    supervisor = Supervisor(notice=events)
    async with Door() as door:
        slow = spec("admission-1", STUBBORN, tmp_path, port=door.port, stop_s_max=1.0)
        await supervisor.start(spec("history", ENDING, tmp_path))
        await supervisor.start(slow)
        await door.arrival()
        await events.wait_for(ProcessEvent.DIED)
        started = len(events.of(ProcessEvent.STARTED))

        await supervisor.stop()  # takes longer than the first back-off of history

    assert events.of(ProcessEvent.KILLED) == [("admission-1", ProcessEvent.KILLED)]
    assert len(events.of(ProcessEvent.STARTED)) == started


async def test_a_program_that_vanished_is_named_and_tried_again(tmp_path: Path) -> None:
    events = Events()
    supervisor = Supervisor(notice=events)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o700)
    vanishing = ProcessSpec(
        name="history", command=[str(program)], environment={}, log_path=tmp_path / "history.log"
    )
    await supervisor.start(vanishing)
    program.unlink()

    details = await events.wait_for(ProcessEvent.DIED, times=2)
    await supervisor.stop()

    assert details.startswith("it cannot be started: ")
    assert str(program) in details


async def test_a_child_sees_the_settings_that_it_is_given(tmp_path: Path) -> None:
    events = Events()
    supervisor = Supervisor(notice=events)
    telling = ProcessSpec(
        name="history",
        command=[sys.executable, "-c", "import os; print(os.environ['CLICKHOUSE_DSN'])"],
        environment={"CLICKHOUSE_DSN": "clickhouse://127.0.0.1:1/d"},
        log_path=tmp_path / "history.log",
    )
    await supervisor.start(telling)

    await events.wait_for(ProcessEvent.DIED)
    await supervisor.stop()

    assert telling.log_path.read_text().splitlines()[0] == "clickhouse://127.0.0.1:1/d"
