"""Drawing: the pictures of one result, as files; one seed of it, named in every picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from console.plots.curves import Bars, Curve, Panel, Span
from console.plots.pictures import against_capacity, distribution, over_time, rates
from simulation.experiments.results import ExperimentResult, PolicyResult

CAPACITY: Final = "capacity"
DEBT: Final = "debt"


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """What all pictures of one result have in common."""

    result: ExperimentResult
    spans: Sequence[Span]
    note: str

    def title(self, text: str) -> str:
        """Return a title that names the experiment."""
        return f"{self.result.experiment}: {text}"


def draw_all(result: ExperimentResult, folder: Path, *, ending: str) -> list[Path]:
    """Write every picture that the result has data for, and return their paths."""
    sheet = _Sheet(
        result=result,
        spans=[Span(name=name, start=at[0], end=at[1]) for name, at in result.marks_s.items()],
        note=f"seed {result.series_seed} of {len(result.seeds)}; {result.about}",
    )
    has_debt = any(_debts(each) for each in result.policies)
    paths: list[Path] = []
    for name, draw in _PICTURES.items():
        if name != DEBT or has_debt:
            paths.append(folder / f"{name}.{ending}")
            draw(sheet, paths[-1])
    return paths


def _queue(sheet: _Sheet, path: Path) -> None:
    over_time(
        path,
        [_queues(sheet.result)],
        title=sheet.title("requests waiting in front of the engine"),
        note=sheet.note,
        spans=sheet.spans,
    )


def _in_flight(sheet: _Sheet, path: Path) -> None:
    against_capacity(
        path,
        [_panel(each, "in_flight", "requests") for each in sheet.result.policies],
        capacity=CAPACITY,
        title=sheet.title("requests in flight, waiting ones included, against capacity"),
        note=sheet.note,
        spans=sheet.spans,
    )


def _latency(sheet: _Sheet, path: Path) -> None:
    distribution(
        path,
        [
            _panel(each, "latency_distribution", "part of requests")
            for each in sheet.result.policies
        ],
        title=sheet.title("time from admission to first token, by class"),
        note=sheet.note,
    )


def _latency_over_time(sheet: _Sheet, path: Path) -> None:
    over_time(
        path,
        _latencies(sheet.result),
        title=sheet.title("99th percentile of time to first token, over 5 s"),
        note=sheet.note,
        spans=sheet.spans,
    )


def _refusals(sheet: _Sheet, path: Path) -> None:
    rates(
        path,
        [Bars(title=each.policy, parts=each.reasons) for each in sheet.result.policies],
        title=sheet.title("refused attempts by class and reason"),
        note=sheet.note,
        x_label="part of the class's attempts",
    )


def _refusals_over_time(sheet: _Sheet, path: Path) -> None:
    panels = [_panel(each, "refusals", "part of attempts") for each in sheet.result.policies]
    over_time(
        path,
        [replace(panel, y_max=1, is_held=False) for panel in panels],
        title=sheet.title("refused part of the attempts, over 5 s"),
        note=sheet.note,
        spans=sheet.spans,
    )


def _debt(sheet: _Sheet, path: Path) -> None:
    over_time(
        path,
        [panel for each in sheet.result.policies for panel in _debts(each)],
        title=sheet.title("debt and weight"),
        note=sheet.note,
        spans=sheet.spans,
    )


_PICTURES: Final[Mapping[str, Callable[[_Sheet, Path], None]]] = {
    "queue": _queue,
    "in-flight": _in_flight,
    "latency": _latency,
    "latency-over-time": _latency_over_time,
    "refusals": _refusals,
    "refusals-over-time": _refusals_over_time,
    DEBT: _debt,
}


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
