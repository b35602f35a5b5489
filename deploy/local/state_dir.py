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

SECRETS_FOLDER: Final = "secrets"
RESERVATION_KEY_BYTES: Final = 32
LEFTOVER_STOP_S_MAX: Final = 15.0
POLL_S: Final = 0.05
PROC: Final = Path("/proc")


class Started(msgspec.Struct, frozen=True):
    """A child as it was written down: process id and command line."""

    pid: int
    command: str

    def runs(self) -> bool:
        """Whether this process still runs, and not another one that got its id."""
        return bool(self.command) and _command_of(self.pid) == self.command


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
    """End the children that a killed owner left running, last started first."""
    path = state_dir / "processes.json"
    if not path.exists():
        return
    for name, child in reversed(_remembered(path, notice=notice).items()):
        if child.runs():
            notice(f"ending {name} (process {child.pid}), left by a loop that was killed")
            _end(child)
    path.unlink()


def reservation_key_file(state_dir: Path) -> Path:
    """Return the file of the key that signs reservation ids; made once, readable by its owner."""
    path = state_dir / SECRETS_FOLDER / "reservation.key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(RESERVATION_KEY_BYTES), encoding="ascii")
        draft.replace(path)
    return path


def _remembered(path: Path, *, notice: Callable[[str], None]) -> dict[str, Started]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Started])
    except msgspec.DecodeError:
        notice(f"{path} cannot be read: whether a killed loop left processes is not known")
        return {}


def _command_of(pid: int) -> str:
    """Return a process's command line, or nothing when there is no such process.

    Small images have no ``ps``, and macOS has no ``/proc``.
    """
    if not PROC.is_dir():
        asked = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return b" ".join(words).decode(errors="replace").strip()


def _end(child: Started) -> None:
    """Ask it to end, then make it; each signal only while the process is still this one."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline_s = time.monotonic() + LEFTOVER_STOP_S_MAX
        with contextlib.suppress(ProcessLookupError):
            if child.runs():
                os.kill(child.pid, number)
        while child.runs() and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
