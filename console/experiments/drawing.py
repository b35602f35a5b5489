"""Drawing: the pictures of one result, as files; one seed of it, named in every picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from console.plots.curves import Bars, Curve, Panel, Span
from console.plots.pictures import against_capacity, distribution, over_time, rates
from simulation.experiments.results import ExperimentResult, PolicyResult

CAPACITY = "capacity"


def draw_all(result: ExperimentResult, folder: Path, *, ending: str) -> list[Path]:
    """Write every picture that the result has data for, and return their paths."""
    spans = [Span(name=name, start=start, end=end) for name, (start, end) in result.marks_s.items()]
    note = f"seed {result.series_seed} of {len(result.seeds)}; {result.about}"
    paths: list[Path] = []

    def path(name: str) -> Path:
        paths.append(folder / f"{name}.{ending}")
        return paths[-1]

    title = result.experiment
    over_time(
        path("queue"),
        [_queues(result)],
        title=f"{title}: requests waiting in front of the engine",
        note=note,
        spans=spans,
    )
    against_capacity(
        path("in-flight"),
        [_panel(each, "in_flight", "requests") for each in result.policies],
        capacity=CAPACITY,
        title=f"{title}: requests in flight, waiting ones included, against capacity",
        note=note,
        spans=spans,
    )
    distribution(
        path("latency"),
        [_panel(each, "latency_distribution", "part of requests") for each in result.policies],
        title=f"{title}: time from admission to first token, by class",
        note=note,
    )
    over_time(
        path("latency-over-time"),
        _latencies(result),
        title=f"{title}: 99th percentile of time to first token, over 5 s",
        note=note,
        spans=spans,
    )
    rates(
        path("refusals"),
        [Bars(title=each.policy, parts=each.reasons) for each in result.policies],
        title=f"{title}: refused attempts by class and reason",
        note=note,
        x_label="part of the class's attempts",
    )
    debts = [panel for each in result.policies for panel in _debts(each)]
    if debts:
        over_time(path("debt"), debts, title=f"{title}: debt and weight", note=note, spans=spans)
    return paths


def _queues(result: ExperimentResult) -> Panel:
    curves = [
        Curve(name=each.policy, xs=line.times_s, ys=line.values)
        for each in result.policies
        for line in each.series
        if line.panel == "queue"
    ]
    return Panel(title="", curves=curves, y_label="requests", y_max=1)


def _panel(policy: PolicyResult, name: str, y_label: str) -> Panel:
    return Panel(title=policy.policy, curves=_curves(policy, name), y_label=y_label)


def _latencies(result: ExperimentResult) -> list[Panel]:
    """Return a panel per policy, all with the scale of the slowest."""
    panels = [_panel(each, "latency", "seconds") for each in result.policies]
    slowest = max(
        (value or 0.0 for panel in panels for curve in panel.curves for value in curve.ys),
        default=0.0,
    )
    return [replace(panel, y_max=1.05 * slowest, is_held=False) for panel in panels]


def _curves(policy: PolicyResult, panel: str) -> list[Curve]:
    return [
        Curve(name=line.name, xs=line.times_s, ys=line.values)
        for line in policy.series
        if line.panel == panel
    ]


def _debts(policy: PolicyResult) -> Sequence[Panel]:
    """Return debt and weight of the entitlements that ever owed or were owed anything."""
    owed = [curve for curve in _curves(policy, "debt") if any(curve.ys)]
    names = {curve.name for curve in owed}
    weights = [curve for curve in _curves(policy, "weight") if curve.name in names]
    if not owed:
        return ()
    return (
        Panel(title=f"{policy.policy}: debt", curves=owed, y_label="baselines", y_max=1),
        Panel(title=f"{policy.policy}: weight", curves=weights, y_label="weight"),
    )
