"""Logs: one line per event to stderr, and what the libraries complain of, but not at every turn.

While a broker is away its clients repeat the same complaint many times a second.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

REPEAT_S: Final = 10.0
"""A library's complaint is printed at most this often."""

COMPLAINTS_MAX: Final = 256
"""Different complaints remembered; beyond them all are forgotten and printed again."""

LIBRARIES: Final = ("aiokafka", "faust", "mode", "asyncio", "streams.app", "streams.driver")
"""The last two: Faust names a service's logger after the module of our subclass."""


class Throttle(logging.Filter):
    """Lets a library's complaint pass once per ``REPEAT_S``; our own lines always pass."""

    def __init__(self) -> None:
        super().__init__()
        self._printed_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the line is printed."""
        if not record.name.startswith(LIBRARIES):
            return True
        key = (record.name, str(record.msg))
        last_s = self._printed_s.get(key)
        if last_s is not None and record.created - last_s < REPEAT_S:
            return False
        if len(self._printed_s) >= COMPLAINTS_MAX:
            self._printed_s.clear()
        self._printed_s[key] = record.created
        return True


def configure() -> None:
    """Log to stderr: our events, and the libraries' warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Throttle())
    logging.basicConfig(
        handlers=[handler],
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        force=True,
    )
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
