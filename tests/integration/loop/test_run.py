"""``tokenpools run``: the counts agree, twice in one directory, after kill -9, after Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.integration.loop.command import Command, children_of, runs

AGREED = r"^reconciliation: emitted=(\d+) ledger=\1 clickhouse=\1 drift=0$"
KILLED = ("streams-1", "history", "admission-1", "clickhouse", "kafka")


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_ctrl_c_stops_everything_and_the_next_run_agrees_though_every_process_dies(
    tmp_path: Path,
) -> None:
    with Command(["run", "--state-dir", "state"], cwd=tmp_path) as first:
        first.line("requests sent")
        children = children_of(tmp_path / "state")
        first.interrupt()
        status = first.ended()

    assert len(children) == 7
    assert status == 130
    assert [name for name, pid in children.items() if runs(pid)] == []

    second = ["run", "--state-dir", "state", "--workload", "steady", "--limit", "25", "--seed", "5"]
    with Command(second, cwd=tmp_path) as run:
        run.line("requests sent")
        for name in KILLED:
            os.kill(children_of(tmp_path / "state")[name], signal.SIGKILL)
            run.line(f"^{name} restarting")
        assert tokens_agreed_on(run) > 0


def tokens_agreed_on(run: Command) -> int:
    """Return what all three readers counted; fail when they differ or the status says so."""
    line = run.line(r"^reconciliation:")
    status = run.ended()
    agreed = re.match(AGREED, line)
    assert agreed is not None, run.text
    assert status == 0
    return int(agreed[1])
