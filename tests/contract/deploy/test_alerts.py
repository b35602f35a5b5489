"""The alerts speak of metrics that there are, with their labels, and of our own commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import pytest
import yaml

import streams.history.metrics
import streams.metrics
from console.cli import COMMANDS
from tests.contract.deploy.containers import ROOT, mounts, services

FOLDER: Final = ROOT / "deploy" / "prometheus"
MEASURED_BY: Final = (streams.metrics, streams.history.metrics)
METRIC: Final = re.compile(r"tokenpools_\w+")
LABEL: Final = re.compile(r"\$labels\.(\w+)|by \((\w+)\)")
COMMAND: Final = re.compile(r"`tokenpools ([\w-]+)")
SEVERITIES: Final = {"critical", "warning"}
MUST_ALERT: Final = {
    "tokenpools_drift_tokens",
    "tokenpools_drift_events",
    "tokenpools_drift_checked_timestamp_seconds",
    "tokenpools_usage_lost_offsets_total",
    "tokenpools_settled_not_emitted_tokens",
    "tokenpools_horizon_cuts_total",
    "tokenpools_gaps_closed_total",
}


class Alert(NamedTuple):
    """One rule."""

    name: str
    expression: str
    severity: str
    text: str


def alerts() -> Iterator[Alert]:
    """Yield every rule of the file."""
    rules: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            said = rule["annotations"]
            text = f"{said['summary']} {said['action']}"
            yield Alert(rule["alert"], rule["expr"], rule["labels"]["severity"], text)


ALERTS: Final = tuple(alerts())


def labels_by_metric() -> dict[str, set[str]]:
    """Return the labels of everything that streams and history measure."""
    found: dict[str, set[str]] = {}
    for module in MEASURED_BY:
        for metric in vars(module).values():
            names = getattr(metric, "_labelnames", None)
            if names is not None:
                for described in metric.describe():
                    found[described.name] = found[f"{described.name}_total"] = set(names)
    assert found
    return found


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_asks_for_what_is_measured(alert: Alert) -> None:
    known = labels_by_metric()
    metrics = set(METRIC.findall(alert.expression))
    labels = {one or other for one, other in LABEL.findall(f"{alert.expression} {alert.text}")}

    assert metrics
    assert metrics <= known.keys()
    assert all(labels <= known[metric] for metric in metrics)
    assert alert.severity in SEVERITIES


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_what_to_do_with_commands_that_there_are(alert: Alert) -> None:
    assert alert.text.endswith(".")
    assert set(COMMAND.findall(alert.text)) <= COMMANDS.keys()


def test_whatever_makes_a_bill_wrong_alerts() -> None:
    asked = {metric for alert in ALERTS for metric in METRIC.findall(alert.expression)}

    assert asked >= MUST_ALERT
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


def test_prometheus_is_given_the_rules_that_its_file_names() -> None:
    configured = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    prometheus = services()["prometheus"]
    file = dict(each.split("=", 1) for each in prometheus["command"])["--config.file"]

    for name in configured["rule_files"]:
        inside = str(PurePosixPath(file).parent / name)
        assert mounts(prometheus)[inside] == f"./deploy/prometheus/{name}"
        assert (FOLDER / name).exists()
