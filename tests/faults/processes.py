"""Processes under test: started through this package's launchers, killed by their own id only."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.connections import KafkaOptions
from tests.faults.fuse import Fuse
from tests.faults.waiting import StuckError

ROOT: Final = Path(__file__).parents[2]
SAID_CHARS_MAX: Final = 400
LEAVE_S_MAX: Final = 20.0
POLL_S: Final = 0.05


@dataclass
class Child:
    """One running process of ours."""

    name: str
    fuse: Fuse
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls, module: str, *, name: str, folder: Path, environ: Mapping[str, str], fuse: Fuse
    ) -> Child:
        """Start a launcher; its log goes to a file of its own."""
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environ, **fuse.environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(name, fuse, log, process)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended (it may be stopped)."""
        return self.process.poll() is None

    @property
    def has_burnt(self) -> bool:
        """Whether its fuse has acted."""
        return self.fuse.report is not None and self.fuse.report.exists()

    def kill(self) -> bool:
        """End it as kill -9 does; False when it had ended before."""
        was_running = self.is_running
        self.process.kill()
        self.process.wait()
        return was_running

    def wake(self) -> None:
        """Let it go on after its fuse has stopped it."""
        self.process.send_signal(signal.SIGCONT)

    async def leave(self) -> bool:
        """Ask it to end; False when it had to be killed."""
        self.process.terminate()
        if await self.ended(within_s=LEAVE_S_MAX):
            return True
        self.kill()
        return False

    async def ended(self, *, within_s: float) -> bool:
        """Wait for its end; False when it still runs."""
        waited_s = 0.0
        while self.is_running and waited_s < within_s:
            await asyncio.sleep(POLL_S)
            waited_s += POLL_S
        return not self.is_running

    async def wrote(self, text: str, *, within_s: float) -> bool:
        """Wait until its log has the text; False when it ended before."""
        waited_s = 0.0
        while text not in self.log.read_text(errors="replace"):
            if not self.is_running:
                return False
            if waited_s > within_s:
                raise StuckError(f"{self.name} did not log {text!r} within {within_s:.0f} s")
            await asyncio.sleep(POLL_S)
            waited_s += POLL_S
        return True

    def last_words(self) -> str:
        """Return how it ended, for a person."""
        lines = [each for each in self.log.read_text(errors="replace").splitlines() if each.strip()]
        errors = [each for each in lines if " ERROR " in each]
        said = (errors or lines or ["nothing"])[-1]
        return f"{self.name} ended with {self.process.returncode}: {said[:SAID_CHARS_MAX]}"


def environment(options: KafkaOptions, *, clickhouse_dsn: str) -> dict[str, str]:
    """Return the variables from which the processes of a lane read their settings."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": options.bootstrap,
        "TOKENPOOLS_TOPIC_PREFIX": options.topic_prefix,
        "TOKENPOOLS_GROUP_PREFIX": options.group_prefix,
        "TOKENPOOLS_PARTITIONS": str(options.partitions),
        "TOKENPOOLS_SESSION_TIMEOUT_MS": "6000",
        "TOKENPOOLS_HEARTBEAT_MS": "1000",
        "TOKENPOOLS_HISTORY_FLUSH_MS": "100",
        "TOKENPOOLS_HISTORY_BATCH_ROWS_MAX": "20000",
        "CLICKHOUSE_DSN": clickhouse_dsn,
    }
