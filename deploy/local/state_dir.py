"""Who owns a state directory, and what did its last owner leave running?

One loop at a time: a lock file held with ``flock``.  The children that an owner starts are written
down with their command lines; when an owner was killed outright, the next one ends exactly those
that still run (same process id *and* same command), and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import SettingsError

RESERVATION_KEY_BYTES: Final = 32
LEFTOVER_STOP_S_MAX: Final = 15.0
POLL_S: Final = 0.1


class Started(msgspec.Struct, frozen=True):
    """A child as it was written down: process id and command line."""

    pid: int
    command: str


@contextmanager
def owned(state_dir: Path) -> Iterator[None]:
    """Hold the state directory; raise ``SettingsError`` naming the process that has it."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise SettingsError(
                f"{state_dir} belongs to a loop that runs (process {lock.read().strip()}); "
                "stop it or choose another --state-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def remember(state_dir: Path, pids: Mapping[str, int | None]) -> None:
    """Write down the running children by name, with the command lines that they have now."""
    running = {name: pid for name, pid in pids.items() if pid is not None}
    started = {name: Started(pid, _command_of(pid)) for name, pid in running.items()}
    draft = state_dir / "processes.new"
    draft.write_bytes(msgspec.json.encode(started))
    draft.replace(state_dir / "processes.json")


def end_leftovers(state_dir: Path, *, notice: Callable[[str], None]) -> None:
    """End the children that a killed owner left running."""
    path = state_dir / "processes.json"
    if not path.exists():
        return
    for name, child in msgspec.json.decode(path.read_bytes(), type=dict[str, Started]).items():
        if child.command and _command_of(child.pid) == child.command:
            notice(f"ending {name} (process {child.pid}), left by a loop that was killed")
            _end(child)
    path.unlink()


def reservation_key_file(state_dir: Path) -> Path:
    """Return the file of the key that signs reservation ids; made once, readable by its owner."""
    path = state_dir / "secrets" / "reservation.key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(RESERVATION_KEY_BYTES), encoding="ascii")
    return path


def _command_of(pid: int) -> str:
    """Return a process's command line, or nothing when there is no such process."""
    shown = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()


def _end(child: Started) -> None:
    deadline_s = time.monotonic() + LEFTOVER_STOP_S_MAX
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)
        while _command_of(child.pid) == child.command and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        deadline_s = time.monotonic() + LEFTOVER_STOP_S_MAX
