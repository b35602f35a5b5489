"""Does every command exist, explain itself, and say what is wrong in one line?"""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli import COMMANDS, main
from console.commands.money import interval_us
from console.summary import amounts_text
from schemas.errors import SettingsError

POOLS = """
pools:
  - name: chat
    model: m
    replicas: {min: 1, max: 1}
    perReplica: {tokensPerSecond: 240, kvCacheGiB: 2, concurrency: 16}
    kvBytesPerToken: 1000
entitlements:
  - uid: acme
    tenantId: acme
    poolRef: {name: chat}
    qos: {serviceClass: guaranteed}
    resources: {tokensPerSecond: 90, kvCacheGiB: 1, concurrency: SLOTS}
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    answer = CliRunner().invoke(main, [command, "--help"])

    assert answer.exit_code == 0, answer.output
    assert "Usage:" in answer.output
    assert len(answer.output.splitlines()) > 5


def pools_file(folder: Path, *, slots: int) -> str:
    path = folder / "pools.yaml"
    path.write_text(POOLS.replace("SLOTS", str(slots)), encoding="utf-8")
    return str(path)


def test_a_spec_can_be_checked_without_a_broker(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["apply", "--dry-run", pools_file(tmp_path, slots=6)])

    assert answer.exit_code == 0, answer.output
    assert "6 of 16" in answer.output


def test_floors_that_can_never_fit_are_refused_with_the_numbers(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["apply", "--dry-run", pools_file(tmp_path, slots=17)])

    assert answer.exit_code == 2
    assert "sum to 17 in concurrency" in answer.output
    assert "gives 16" in answer.output


def test_a_missing_broker_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)

    answer = CliRunner().invoke(main, ["apply", pools_file(tmp_path, slots=6)])

    assert answer.exit_code == 2
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in answer.output


def test_an_interval_without_an_offset_is_in_its_zone() -> None:
    start_us, end_us = interval_us("2026-06-01", "2026-06-02T00:00:00+00:00", tz="Europe/Berlin")

    midnight = datetime.datetime(2026, 5, 31, 22, tzinfo=datetime.UTC)
    assert start_us == int(midnight.timestamp()) * 1_000_000
    assert end_us - start_us == 26 * 3_600 * 1_000_000


def test_an_interval_that_ends_before_it_starts_names_both_options() -> None:
    with pytest.raises(SettingsError, match=r"--from.*--to"):
        interval_us("2026-06-02", "2026-06-01", tz="UTC")


def test_what_has_no_price_is_unpriced_and_never_zero() -> None:
    assert amounts_text([("", None)]) == "unpriced"
    assert amounts_text([("EUR", Decimal("1.10")), ("", None)]) == "1.10 EUR + unpriced"
    assert amounts_text([]) == "-"
