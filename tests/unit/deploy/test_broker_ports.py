"""Which ports are free, and who holds a data directory."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.broker import PortTakenError, free_ports, lock_owner, require_free

HOLD_THE_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "rb+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_free_ports_are_different_and_can_be_bound() -> None:
    ports = free_ports(3)

    assert len(set(ports)) == 3
    for port in ports:
        require_free(port, option="--kafka-port")


def test_a_taken_port_is_named_with_the_option_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]

        with pytest.raises(PortTakenError, match=rf"port {port} .* --kafka-port"):
            require_free(port, option="--kafka-port")


def test_a_directory_without_a_lock_file_has_no_owner(tmp_path: Path) -> None:
    assert lock_owner(tmp_path / ".lock") is None


def test_a_lock_file_that_nobody_holds_has_no_owner(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()

    assert lock_owner(tmp_path / ".lock") is None


def test_the_process_that_holds_the_lock_is_named(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()

        owner = lock_owner(lock)
        holder.communicate()

        assert owner == holder.pid
    assert lock_owner(lock) is None
