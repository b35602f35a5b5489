"""A fuse: the n-th time that a process passes a named point, it kills or stops itself there.

Made by the launchers of this package from the environment; the code under test knows nothing of it.
Before it acts it writes down the point, so that whoever started the process can tell a kill at a
point from any other end.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

POINT: Final = "FAULTS_POINT"
PASSAGE: Final = "FAULTS_PASSAGE"
ACT: Final = "FAULTS_ACT"
REPORT: Final = "FAULTS_REPORT"
ABOUT: Final = "FAULTS_ABOUT"


class Point(StrEnum):
    """Where a process can be killed."""

    RANDOM = "random"
    """Anywhere: whoever started it kills it after a time."""
    AFTER_VERDICTS = "after_verdicts"
    """Streams: verdicts, forwards and rollups are acknowledged, the changelog is not sent."""
    AFTER_CHANGELOG = "after_changelog"
    """Streams: the changelog is acknowledged, nothing is committed."""
    MID_INSERT = "mid_insert"
    """History: some tables have their rows, others not."""
    TORN_INSERT = "torn_insert"
    """History: a table has a part of its rows."""
    BEFORE_COMMIT = "before_commit"
    """Streams and history: everything is written, the offsets are not committed."""


class Act(StrEnum):
    """What a fuse does."""

    KILL = "kill"
    STOP = "stop"


@dataclass
class Fuse:
    """Burns at the ``passage``-th passage of ``point``; without a report file, never."""

    point: str = ""
    passage: int = 1
    act: Act = Act.KILL
    report: Path | None = None
    about: str = ""
    """Only passages about this count, for example with a key that begins so; empty: all do."""
    seen: int = 0

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Fuse:
        """Return the fuse that the environment describes."""
        return cls(
            point=environ.get(POINT, ""),
            passage=int(environ.get(PASSAGE, "1")),
            act=Act(environ.get(ACT, Act.KILL)),
            report=Path(environ[REPORT]) if REPORT in environ else None,
            about=environ.get(ABOUT, ""),
        )

    def due(self, point: Point) -> bool:
        """Count a passage; True when this is the one."""
        if self.report is None or point != self.point:
            return False
        self.seen += 1
        return self.seen == self.passage

    def burn(self) -> None:
        """Write down where, and end (or stop) this process at once."""
        assert self.report is not None
        self.report.write_text(self.point)
        os.kill(os.getpid(), signal.SIGKILL if self.act is Act.KILL else signal.SIGSTOP)

    def passes(self, point: Point) -> None:
        """Pass a point."""
        if self.due(point):
            self.burn()

    def environment(self) -> dict[str, str]:
        """Return the variables that describe this fuse to a process."""
        if self.report is None:
            return {}
        return {
            POINT: self.point,
            PASSAGE: str(self.passage),
            ACT: self.act.value,
            REPORT: str(self.report),
            ABOUT: self.about,
        }
