"""A command that is killed takes its worker processes with it."""

import subprocess
import sys

import psutil
import pytest

WAIT_S = 30.0
COMMAND = ["-m", "console", "experiment", "paper-2", "--policy", "none", "--seeds", "1000"]
IN_TWO = ["--jobs", "2", "--json"]


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Its worker processes, without multiprocessing's own tracker."""
    return [each for each in process.children() if "spawn_main" in " ".join(each.cmdline())]


@pytest.mark.slow
def test_workers_end_when_the_command_is_killed() -> None:
    command = [sys.executable, *COMMAND, *IN_TWO]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        first_line = running.stderr.readline()
        workers = workers_of(psutil.Process(running.pid))

        running.kill()
        _, alive = psutil.wait_procs(workers, timeout=WAIT_S)

    assert first_line.startswith("paper-2, seeds 1 to 1000: ")
    assert len(workers) == 2
    assert alive == []
