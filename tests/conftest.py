"""Skips are loud: each one is listed with its reason, and where everything must run, one fails.

The slowest tests come first and go to whichever worker is free, so that workers that run side by
side end together.

``TOKENPOOLS_REQUIRE_ALL=1`` (CI) says that everything which can be installed is installed.  Only
the public traces may be missing then, since they are not part of the project: a skip whose
reason begins with "needs traces" is let through.
"""

import os
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import pytest
from hypothesis import settings

REQUIRE_ALL = "TOKENPOOLS_REQUIRE_ALL"
EXCUSED = "needs traces"


# Laws are tried on few examples while one works, and on many where everything must run.
# None has a deadline of its own: pytest's holds, and a busy machine breaks no law.
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=60, deadline=None)
settings.load_profile("thorough" if os.environ.get(REQUIRE_ALL) else "quick")

SLOWEST_FIRST = (
    "tests/integration/loop/",
    "tests/integration/deploy/test_broker.py",
    "tests/integration/streams/",
    "tests/integration/gateways/test_broker_killed.py",
    "tests/integration/security/",
    "tests/integration/history/test_process.py",
    "tests/integration/admission/",
    "tests/integration/",
    "tests/simulation/",
    "tests/component/console/",
    "tests/property/",
)
"""Where a test lies in this list decides when it runs; the others come last."""
ALONE = ("tests/integration/loop/", "tests/integration/streams/", "tests/simulation/")
"""Tests that share nothing with the rest of their file: each may go to another worker."""
TOGETHER = ("tests/integration/security/",)
"""Folders whose files share a server that takes long to start: each goes to one worker."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first, each file's tests in their order."""
    items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Deal out files in the order above, and the tests that may stand alone one by one.

    Left to itself, xdist begins with the files that have the most tests.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    scheduler: Any = import_module("xdist.scheduler").LoadFileScheduling(config, log)  # no types
    scheduler._split_scope = _unit
    return scheduler


def _unit(nodeid: str) -> str:
    """Return the name of what one worker runs together."""
    for folder in TOGETHER:
        if nodeid.startswith(folder):
            return folder
    return nodeid if nodeid.startswith(ALONE) else nodeid.partition("::")[0]


def _rank(nodeid: str) -> int:
    ranks = (rank for rank, start in enumerate(SLOWEST_FIRST) if nodeid.startswith(start))
    return next(ranks, len(SLOWEST_FIRST))


def inexcusable(reasons: Iterable[str]) -> list[str]:
    """Return the reasons that do not excuse a skip when everything must run."""
    return [reason for reason in reasons if not reason.startswith(EXCUSED)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that would pass, if it skipped something that it had to run."""
    passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if passed and os.environ.get(REQUIRE_ALL) and inexcusable(_skip_reasons(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print how often each reason skipped a test, and which of them make the run fail."""
    reasons = Counter(_skip_reasons(config))
    if not reasons:
        return
    terminalreporter.section(f"skipped: {reasons.total()}")
    bad = inexcusable(reasons) if os.environ.get(REQUIRE_ALL) else []
    for reason, count in sorted(reasons.items()):
        refused = f"  <- not allowed with {REQUIRE_ALL}" if reason in bad else ""
        terminalreporter.line(f"{count} × {reason}{refused}")


def _skip_reasons(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter is not None else []
    return [_reason(report.longrepr) for report in reports]


def _reason(longrepr: object) -> str:
    """A skip is reported as (file, line, "Skipped: reason")."""
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ")
