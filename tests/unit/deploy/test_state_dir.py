"""A state directory has one owner, and its owner ends what a killed one left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from deploy.local.state_dir import (
    Started,
    end_leftovers,
    owned,
    remember,
    reservation_key_file,
)
from schemas.errors import SettingsError

END_DEADLINE_S = 20.0
WAITING = "import sys; print('up', flush=True); sys.stdin.read()"
OWNING = """
import sys
from pathlib import Path
from deploy.local.state_dir import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child that has said its first line and waits for its input to end."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.communicate(timeout=END_DEADLINE_S)


def write_down(state_dir: Path, children: dict[str, Started]) -> None:
    (state_dir / "processes.json").write_bytes(msgspec.json.encode(children))


def test_a_second_owner_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with running(OWNING, str(state_dir)) as owner:
        named = rf"{re.escape(str(state_dir))}.*process {owner.pid}\b"
        with pytest.raises(SettingsError, match=named):
            owned(state_dir).__enter__()

    with owned(state_dir):
        assert (state_dir / "lock").read_text() == str(os.getpid())


def test_a_directory_whose_owner_was_killed_can_be_owned_again(tmp_path: Path) -> None:
    with running(OWNING, str(tmp_path)) as owner:
        owner.kill()
        owner.wait(END_DEADLINE_S)

        with owned(tmp_path):
            pass


def test_what_a_killed_owner_left_running_is_ended_and_named(tmp_path: Path) -> None:
    notices: list[str] = []
    with running(WAITING) as child:
        remember(tmp_path, {"streams-1": child.pid, "history": None})

        # The parent must collect the child, so that it is gone and no zombie.
        end_leftovers(tmp_path, notice=notices.append)
        status = child.wait(END_DEADLINE_S)

    assert status < 0
    assert notices == [f"ending streams-1 (process {child.pid}), left by a loop that was killed"]
    assert not (tmp_path / "processes.json").exists()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("python -m console streams", id="another command has the id now"),
        pytest.param("", id="the command was not known"),
    ],
)
def test_a_process_that_is_not_the_one_written_down_is_left_alone(
    tmp_path: Path, command: str
) -> None:
    notices: list[str] = []
    with running(WAITING) as stranger:
        write_down(tmp_path, {"streams-1": Started(stranger.pid, command)})

        end_leftovers(tmp_path, notice=notices.append)

        assert stranger.poll() is None
    assert notices == []


def test_a_child_that_has_ended_since_is_no_leftover(tmp_path: Path) -> None:
    notices: list[str] = []
    with running(WAITING) as child:
        remember(tmp_path, {"streams-1": child.pid})

    end_leftovers(tmp_path, notice=notices.append)

    assert notices == []
    assert not (tmp_path / "processes.json").exists()


def test_an_unreadable_list_of_processes_is_named_and_does_not_stop_the_start(
    tmp_path: Path,
) -> None:
    notices: list[str] = []
    (tmp_path / "processes.json").write_bytes(b"")

    end_leftovers(tmp_path, notice=notices.append)

    assert [str(tmp_path / "processes.json") in notice for notice in notices] == [True]
    assert not (tmp_path / "processes.json").exists()


def test_a_directory_that_never_ran_anything_has_no_leftovers(tmp_path: Path) -> None:
    end_leftovers(tmp_path, notice=pytest.fail)


def test_the_reservation_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = reservation_key_file(tmp_path)
    key = path.read_text()

    assert reservation_key_file(tmp_path).read_text() == key
    assert len(bytes.fromhex(key)) == 32
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_key_whose_writing_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "reservation.new").write_text("")

    assert len(bytes.fromhex(reservation_key_file(tmp_path).read_text())) == 32
