"""Results: what an experiment found, as frozen data that prints itself as JSON.

A policy's figures are medians over seeds with 95 % intervals (``statistics``); the keys are those
of ``keys``.  Series are of one named seed, for plots.  The same seeds give the same result
whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulation.experiments.literal import LiteralWeight
from simulation.experiments.statistics import Figure


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """What arXiv 2603.00356 says of a key; ``text`` where it says it in words."""

    key: str
    value: float | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: ``values[i]`` from ``times_s[i]`` on; None where there is nothing to draw."""

    panel: str
    """A name of ``PANELS``."""
    name: str
    """The entitlement, service class or quantity that is drawn."""
    times_s: tuple[float, ...]
    values: tuple[float | None, ...]


PANELS: Mapping[str, str] = {
    "queue": "requests waiting for a slot of the engine",
    "in_flight": "busy slots by entitlement; `capacity` is the slots of ready replicas",
    "latency": "99th percentile of time to first token by class, over the last 5 s, in seconds",
    "latency_distribution": "part of a class's served requests (values) whose time to first token "
    "was at most so long (times_s), from admission",
    "debt": "debt by entitlement, in baselines",
    "weight": "weight by entitlement (1 is the most without debt)",
    "refusals": "part of the attempts of the last 5 s that were refused, by entitlement",
}
"""What may be drawn: panel -> what its lines show and in which unit."""


@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """One policy over all seeds."""

    policy: str
    about: str
    """One sentence: what it models."""
    figures: Mapping[str, Figure]
    entitlements: Mapping[str, Mapping[str, Figure]]
    series: tuple[Line, ...] = ()
    """Of the seed ``ExperimentResult.series_seed``."""
    reasons: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of the same seed: service class -> reason -> part of its attempts refused for it."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much was simulated, over all policies and seeds."""

    requests: int
    """Unique requests."""
    steps: int
    """Events of the worlds."""
    left_out: int = 0
    """Requests that were not sent, because the mapping gives them to nobody."""

    def requests_per_s(self, wall_s: float) -> float:
        """Return the speed, given how long it took: nothing here reads a clock."""
        return self.requests / wall_s if wall_s > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """What ``run_experiment`` and ``simulate`` return."""

    experiment: str
    """paper-1, paper-2 or what-if."""
    about: str
    seeds: tuple[int, ...]
    admitters: int
    headroom_slots: int
    policies: tuple[PolicyResult, ...]
    work: Work
    paper: Mapping[str, Mapping[str, PaperFigure]] = field(default_factory=dict)
    """Policy -> key -> the paper's figure."""
    series_seed: int | None = None
    marks_s: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Spans to shade in plots: overload, outage."""
    literal: tuple[LiteralWeight, ...] = ()
    """The paper's printed weights, calculated (paper-2)."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data; ``policies`` holds the medians."""
        return {
            "experiment": self.experiment,
            "seeds": list(self.seeds),
            "admitters": self.admitters,
            "headroom_slots": self.headroom_slots,
            "requests": self.work.requests,
            "steps": self.work.steps,
            "left_out": self.work.left_out,
            "policies": {each.policy: _medians(each.figures) for each in self.policies},
            "confidence_95": {each.policy: _intervals(each.figures) for each in self.policies},
            "entitlements": {
                each.policy: {uid: _medians(figures) for uid, figures in each.entitlements.items()}
                for each in self.policies
            },
            "paper": {
                policy: {key: {"value": said.value, "text": said.text} for key, said in row.items()}
                for policy, row in self.paper.items()
            },
            "literal_weights": {each.name: each.ours for each in self.literal},
        }


def _medians(figures: Mapping[str, Figure]) -> dict[str, float]:
    return {key: figure.median for key, figure in figures.items()}


def _intervals(figures: Mapping[str, Figure]) -> dict[str, list[float]]:
    return {key: [figure.low, figure.high] for key, figure in figures.items()}
