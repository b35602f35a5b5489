"""Which starts are refused, and what the supervisor is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.clickhouse.__main__ import Options, StartError, options_from
from deploy.local.clickhouse.configuration import Limits
from deploy.local.clickhouse.process import ClickHouseProcess, NotReadyError, kept_password

DATA = ["--data-dir", "/data"]


def test_a_start_without_options_listens_on_loopback() -> None:
    assert options_from(DATA, {}) == Options(
        Path("/data"), "127.0.0.1", 8123, "default", "", Limits()
    )


def test_the_password_comes_from_the_environment() -> None:
    options = options_from([*DATA, "--password-env", "SECRET"], {"SECRET": "s3cret"})

    assert options.password == "s3cret"
    assert "s3cret" not in repr(options)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(["--host", "0.0.0.0"], "--password-env", id="open to all without a password"),
        pytest.param(["--password-env", "NOT_SET"], "NOT_SET", id="a variable that is not set"),
        pytest.param(
            ["--memory-mib", "100", "--query-memory-mib", "200"],
            "query_mib.*server_mib",
            id="one query may take more than all",
        ),
    ],
)
def test_a_contradiction_stops_the_start_and_is_named(arguments: list[str], named: str) -> None:
    with pytest.raises(StartError, match=named):
        options_from([*DATA, *arguments], {})


def test_a_process_is_started_without_its_password_in_sight(tmp_path: Path) -> None:
    process = ClickHouseProcess(tmp_path / "data", 18123, tmp_path / "log", password="p@ss")

    assert "p@ss" not in " ".join(process.command()) + repr(process)
    assert options_from(process.command()[4:], process.environment()) == Options(
        tmp_path / "data", "127.0.0.1", 18123, "default", "p@ss", Limits(1_536, 1_024)
    )
    assert process.dsn("metering") == "clickhouse://default:p%40ss@127.0.0.1:18123/metering"


def test_waiting_for_a_server_that_ended_names_its_log(tmp_path: Path) -> None:
    process = ClickHouseProcess(tmp_path, port=1, log_path=tmp_path / "log", password="")

    with pytest.raises(NotReadyError, match="log"):
        process.wait_ready(60.0, has_ended=lambda: True)
    with pytest.raises(NotReadyError, match="within 0 s"):
        process.wait_ready(0.0)


def test_a_password_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "password"

    assert kept_password(path) == kept_password(path)
    assert len(kept_password(path)) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
