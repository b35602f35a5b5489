"""Which ports are free, and who holds a data directory."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deploy.local import ports as local_ports
from deploy.local.broker import lock_owner
from deploy.local.ports import PortTakenError, claims_dir, free_ports, require_free
from schemas.errors import SettingsError

CLAIM_A_PORT = """
import sys
from deploy.local.ports import free_ports
print(free_ports(1)[0], flush=True)
sys.stdin.read()
"""
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


def test_no_port_is_given_twice_whatever_process_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = free_ports(1)[0]
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM_A_PORT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        monkeypatch.setattr(local_ports, "FREE_PORTS", [mine, theirs])
        monkeypatch.setattr(local_ports, "FREE_PORT_ATTEMPTS", 2)

        with pytest.raises(SettingsError, match="no 1 free ports"):
            free_ports(1)
        other.communicate()

    assert free_ports(1) == [theirs], "a process that ended holds nothing"


def test_a_place_where_no_port_can_be_claimed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    claims_dir().touch()

    with pytest.raises(SettingsError, match=f"{claims_dir()}.*TMPDIR"):
        free_ports(1)


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
