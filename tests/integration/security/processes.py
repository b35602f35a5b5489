"""``tokenpools`` as a user starts it: a process with an environment, and what it wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
COMMAND_S_MAX: Final = 60.0
STOP_S_MAX: Final = 20.0
"""Until a process has ended after SIGTERM."""
INHERITED: Final = ("PATH", "HOME", "LANG")


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the little that a process needs of ours."""
    return {name: environ[name] for name in INHERITED if name in environ}


def tokenpools(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; both outputs are in ``stdout``."""
    return subprocess.run(
        [sys.executable, "-m", "console", *arguments],
        env=dict(environ),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )


@dataclass(frozen=True)
class Running:
    """A process that runs until it is told to end."""

    popen: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """Return everything that it wrote so far."""
        return self.log.read_text()

    def ended(self) -> bool:
        return self.popen.poll() is not None


@contextmanager
def running(command: str, *, environ: Mapping[str, str], folder: Path) -> Iterator[Running]:
    """Run a process of the loop, and end it with SIGTERM; it must end in time and without error."""
    log = folder / f"{command}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", "console", command],
            env=dict(environ),
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        yield Running(popen, log)
    finally:
        popen.terminate()
        try:
            popen.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
            raise


def command_lines() -> str:
    """Return what everybody on this machine can see of every process."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True
    )
    return listed.stdout
