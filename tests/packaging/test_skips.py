"""A skip is listed with its reason, and fails the run where everything has to run."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SKIPS = """
import pytest

def test_that_passes():
    pass

@pytest.mark.skip(reason="{reason}")
def test_that_is_skipped():
    pass
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with our conftest, outside of what the surrounding run was told."""
    monkeypatch.delenv("TOKENPOOLS_REQUIRE_ALL", raising=False)
    pytester.makeconftest(CONFTEST.read_text())
    return pytester


def test_a_skip_is_counted_with_its_reason(run: pytest.Pytester) -> None:
    run.makepyfile(SKIPS.format(reason="no broker here"))

    result = run.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*skipped: 1*", "1 × no broker here"])


def test_a_skip_fails_the_run_where_everything_is_required(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENPOOLS_REQUIRE_ALL", "1")
    run.makepyfile(SKIPS.format(reason="no broker here"))

    result = run.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 × no broker here*not allowed*", "*1 passed, 1 skipped*"])


def test_a_module_that_skips_itself_fails_the_run_as_well(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENPOOLS_REQUIRE_ALL", "1")
    run.makepyfile('import pytest\npytest.skip("no engine", allow_module_level=True)')

    result = run.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_missing_traces_are_excused(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENPOOLS_REQUIRE_ALL", "1")
    run.makepyfile(SKIPS.format(reason="needs traces: set TOKENPOOLS_TRACES"))

    result = run.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["1 × needs traces: set TOKENPOOLS_TRACES"])
