"""What does it cost to remember an event, so that it is counted once?

Growth of the resident memory of a process of its own.  The ceiling is what the digests alone take,
packed: 8 bytes of identity and 4 of the body for an id; for a line the number and the name.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.bench.figures import Figure
from tests.bench.metering.child import ROOT
from tests.bench.metering.sizes import scaled

MARKS: Final = scaled(500_000)
LINES: Final = scaled(100_000)
MARK_BYTES: Final = 12
LINE_BYTES: Final = 8 + 29
S_MAX: Final = 120

pytestmark = pytest.mark.timeout(300)


def test_memory_of_a_million_ids(figures: list[Figure]) -> None:
    each = grown_bytes("marks", MARKS)
    name = "marks.mb_per_million"
    figures.append(Figure(name, each, "MB", MARK_BYTES, "two digests packed"))


def test_memory_of_a_numbered_line(figures: list[Figure]) -> None:
    each = grown_bytes("lines", LINES)
    figures.append(Figure("lines.bytes", each, "B", LINE_BYTES, "a number and a name packed"))


def grown_bytes(kind: str, count: int) -> float:
    """Return the bytes per remembered thing, as a process of its own says."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.metering.memory", kind, str(count)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=S_MAX,
        check=True,
    )
    return float(ended.stdout)
