"""Skips are loud: each one is listed with its reason, and where everything must run, one fails.

The slowest files come first, so that workers that run files side by side end together.

``TOKENPOOLS_REQUIRE_ALL=1`` (CI) says that everything which can be installed is installed.  Only
the public traces may be missing then, since they are not part of the project: a skip whose
reason begins with "needs traces" is let through.
"""

import os
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import settings

REQUIRE_ALL = "TOKENPOOLS_REQUIRE_ALL"
EXCUSED = "needs traces"


# Laws are tried on few examples while one works, and on many where everything must run.
settings.register_profile("quick", max_examples=25)
settings.register_profile("thorough", max_examples=60)
settings.load_profile("thorough" if os.environ.get(REQUIRE_ALL) else "quick")

SLOWEST_FIRST = (
    "tests/integration/loop/",
    "tests/integration/streams/",
    "tests/integration/deploy/",
    "tests/integration/",
)
"""Where a test lies in this list decides when it runs; the others come last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first, each file's tests in their order."""
    items.sort(key=lambda item: _rank(item.nodeid))


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
