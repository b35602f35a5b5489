"""Ports on 127.0.0.1 for servers that this machine starts for itself.

Nobody holds a port between being told of it and listening on it, nor while a server is restarted,
so each port that ``free_ports`` gives away is claimed with a locked file until the process that
asked ends: two loops, or two tests, that start at one moment get different ports.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

from deploy.local.broker_settings import LOOPBACK
from schemas.errors import SettingsError

# Below every system's range for outgoing connections: a client that keeps reconnecting to a
# stopped broker must not be given the broker's own port.
FREE_PORTS = range(20_000, 30_000)
FREE_PORT_ATTEMPTS = 200
# The open files of this process's claims: never closed, so that the claims last as long as it does.
_claimed: Final[dict[int, int]] = {}


class PortTakenError(SettingsError):
    """Something else listens on a port that a server was told to use."""


def free_ports(count: int) -> list[int]:
    """Different loopback ports on which nothing listens, and that nobody else will be given."""
    found: list[int] = []
    for port in random.SystemRandom().sample(FREE_PORTS, FREE_PORT_ATTEMPTS):
        if len(found) == count:
            break
        if _is_free(port) and _claim(port):
            found.append(port)
    if len(found) < count:
        raise SettingsError(f"no {count} free ports among {FREE_PORT_ATTEMPTS} of {FREE_PORTS}")
    return found


def require_free(port: int, *, option: str) -> None:
    if not _is_free(port):
        raise PortTakenError(f"port {port} on {LOOPBACK} is taken: choose another with {option}")


def listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def claims_dir() -> Path:
    """Where the claims of all this user's processes are."""
    return Path(tempfile.gettempdir()) / f"tokenpools-ports-{os.getuid()}"


def _claim(port: int) -> bool:
    """Hold the port for this process; false when it or another process holds it already."""
    if port in _claimed:
        return False
    folder = claims_dir()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SettingsError(
            f"ports cannot be claimed in {folder}: {error.strerror}; remove it, or set TMPDIR to a "
            "folder of your own"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    _claimed[port] = file
    return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Kafka does, so that connections that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
