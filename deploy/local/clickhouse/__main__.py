"""Start the local ClickHouse server: ``python -m deploy.local.clickhouse --data-dir DIR``.

One process holds a data directory; a second one on the same directory is refused.  SIGTERM and
SIGINT stop accepting, wait a bounded time for running statements, and close the engine.  The
password comes from an environment variable, never from the command line.
"""

from __future__ import annotations

import argparse
import fcntl
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette

from deploy.local.clickhouse.configuration import Limits
from deploy.local.clickhouse.request import Credentials

DRAIN_S_MAX: Final = 20  # running statements get this long after SIGTERM
CONNECTIONS_WAITING_MAX: Final = 128


class StartError(Exception):
    """The server cannot start; the text says which option to change."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the server was started."""

    data_dir: Path
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    limits: Limits = field(default_factory=Limits)


def options_from(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Return the options, or raise ``StartError`` where they contradict each other."""
    parsed = _parser().parse_args(arguments)
    if parsed.password_env and parsed.password_env not in environment:
        raise StartError(f"--password-env names {parsed.password_env}, which is not set")
    password = environment.get(parsed.password_env, "") if parsed.password_env else ""
    if not _is_loopback(parsed.host) and not password:
        raise StartError(
            f"--host {parsed.host} can be reached from other machines: give a password with "
            "--password-env, or use --host 127.0.0.1"
        )
    try:
        limits = Limits(server_mib=parsed.memory_mib, query_mib=parsed.query_memory_mib)
    except ValueError as failure:
        raise StartError(f"--memory-mib and --query-memory-mib: {failure}") from failure
    return Options(parsed.data_dir, parsed.host, parsed.port, parsed.user, password, limits)


def serve(options: Options) -> None:
    """Serve until a signal; raise ``StartError`` when the directory or the port is taken."""
    options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(options.data_dir)
    try:
        listener = _listener(options.host, options.port)
        version, app = _application(options)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S_MAX,
        )
        _end_well_on_signals()
        host, port = listener.getsockname()[:2]
        _log.info("ClickHouse %s listens on http://%s:%d", version, host, port)
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        os.close(lock)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(options_from(sys.argv[1:], os.environ))
    except StartError as failure:
        print(f"cannot start: {failure}", file=sys.stderr)
        return 1
    return 0


_log = logging.getLogger(__name__)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.clickhouse",
        description="ClickHouse's engine behind ClickHouse's HTTP interface, on this machine.",
    )
    limits = Limits()
    parser.add_argument("--data-dir", type=Path, required=True, help="created if missing")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one")
    parser.add_argument("--user", default="default", help="default: %(default)s")
    parser.add_argument("--password-env", default="", help="environment variable of the password")
    parser.add_argument("--memory-mib", type=int, default=limits.server_mib)
    parser.add_argument("--query-memory-mib", type=int, default=limits.query_mib)
    return parser


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _lock(data_dir: Path) -> int:
    """Take the data directory, or say who has it.  The lock ends with the process."""
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as failure:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise StartError(
            f"the data directory {data_dir} is in use by process {holder}: stop it, or choose "
            "another --data-dir"
        ) from failure
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _application(options: Options) -> tuple[str, Starlette]:
    """Start the engine in UTC, whatever the machine's zone; return its version and the server."""
    os.environ["TZ"] = "UTC"
    from deploy.local.clickhouse.engine import Engine  # noqa: PLC0415 - reads TZ when it is loaded
    from deploy.local.clickhouse.server import create_app  # noqa: PLC0415 - imports the engine

    engine = Engine(options.data_dir, options.limits)
    return engine.version, create_app(engine, Credentials(options.user, options.password))


def _end_well_on_signals() -> None:
    """Let an orderly stop end with status 0: uvicorn raises its signal again when all is closed."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS_WAITING_MAX)
    except OSError as failure:
        raise StartError(
            f"port {port} on {host} cannot be opened ({failure.strerror}): choose another --port"
        ) from failure


if __name__ == "__main__":
    sys.exit(main())
