"""Admitters as real processes, addressed over HTTP, ended by their own process id."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.integration.admission.waiting import START_S_MAX, STOP_S_MAX, eventually

RESERVATION_KEY: Final = "00112233445566778899aabbccddeeff"
_MAIN: Final = """
import os, pathlib, sys
from admission.serve import run
from admission.settings import Settings
read = lambda path: pathlib.Path(path).read_text()
sys.exit(run(Settings.from_env(os.environ, read_text=read)))
"""


@dataclass
class Process:
    """One admitter process and what it wrote to stderr."""

    popen: subprocess.Popen[bytes]
    stderr: Path

    def lines(self) -> list[dict[str, object]]:
        """Return the log so far."""
        return [json.loads(line) for line in self.stderr.read_text().splitlines()]

    def event(self, name: str) -> dict[str, object] | None:
        """Return the first line of this event."""
        return next((line for line in self.lines() if line["event"] == name), None)

    async def url(self) -> str:
        """Return the address, as soon as it serves."""
        line = await eventually(lambda: self.event("serving"), within_s=START_S_MAX)
        return str(line["url"])


def environment(kafka: str, prefix: str, **more: str) -> dict[str, str]:
    """Return the settings of an admitter on a free port."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "TOKENPOOLS_TOPIC_PREFIX": prefix,
        "TOKENPOOLS_PARTITIONS": "2",
        "TOKENPOOLS_ADMISSION_PORT": "0",
        "TOKENPOOLS_RESERVATION_KEY": RESERVATION_KEY,
        **more,
    }


@contextmanager
def admitter(environ: Mapping[str, str]) -> Iterator[Process]:
    """Run an admitter; end it, if it has not ended, with SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="tokenpools-admitter-") as folder:
        path = Path(folder, "stderr")
        with path.open("wb") as stderr:
            process = Process(_start(environ, stderr), path)
        try:
            yield process
        finally:
            process.popen.terminate()
            process.popen.wait(timeout=STOP_S_MAX)


def _start(environ: Mapping[str, str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", _MAIN]
    return subprocess.Popen(command, env=dict(environ), cwd=root, stderr=stderr)
