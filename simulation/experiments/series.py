"""Series: one run's samples and records as lines to draw, panel by panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from schemas.specs import ServiceClass
from schemas.units import PPM, US_PER_S
from simulation.experiments.results import Line
from simulation.percentiles import p99
from simulation.world.measures import Measures, Sample, Tally, ttfts_from_admission_us

SPAN_US = 5 * US_PER_S
"""Latencies and refusals are taken over this long."""


def series_of(measures: Measures) -> tuple[Line, ...]:
    """Return the lines of every panel."""
    samples = measures.samples
    uids = tuple(measures.tallies)
    return (
        _sampled("queue", "waiting", samples, lambda sample: sample.waiting),
        _sampled("in_flight", "capacity", samples, lambda sample: sample.slots),
        *(_sampled("in_flight", uid, samples, _in_flight(uid)) for uid in uids),
        *_latencies(measures),
        *_distributions(measures),
        *(_sampled("debt", uid, samples, _debt(uid)) for uid in uids),
        *(_sampled("weight", uid, samples, _weight(uid)) for uid in uids),
        *(_refusals(uid, samples) for uid in uids),
    )


def _sampled(
    panel: str, name: str, samples: Sequence[Sample], value: Callable[[Sample], float | None]
) -> Line:
    return Line(
        panel=panel,
        name=name,
        times_s=tuple(sample.at_us / US_PER_S for sample in samples),
        values=tuple(value(sample) for sample in samples),
    )


def _in_flight(uid: str) -> Callable[[Sample], float | None]:
    return lambda sample: sample.lines[uid].in_flight


def _debt(uid: str) -> Callable[[Sample], float | None]:
    def debt(sample: Sample) -> float | None:
        priority = sample.lines[uid].priority
        return priority.debt_ppm / PPM if priority else None

    return debt


def _weight(uid: str) -> Callable[[Sample], float | None]:
    def weight(sample: Sample) -> float | None:
        priority = sample.lines[uid].priority
        return priority.weight_ppm / PPM if priority else None

    return weight


def _latencies(measures: Measures) -> list[Line]:
    """Return a line per service class; a point is at the end of its span."""
    spans: dict[ServiceClass, dict[int, list[int]]] = {}
    for tally in measures.tallies.values():
        of_class = spans.setdefault(tally.service_class, {})
        for each in tally.records:
            ttft_us = each.ttft_from_admission_us
            if each.first_token_us is not None and ttft_us is not None:
                of_class.setdefault(each.first_token_us // SPAN_US, []).append(ttft_us)
    end = max((span for each in spans.values() for span in each), default=-1) + 1
    times_s = tuple((span + 1) * SPAN_US / US_PER_S for span in range(end))
    return [
        Line(
            panel="latency",
            name=str(service_class),
            times_s=times_s,
            values=tuple(_seconds(of_class.get(span, [])) for span in range(end)),
        )
        for service_class, of_class in sorted(spans.items(), key=lambda each: each[0].rank)
    ]


def _distributions(measures: Measures) -> list[Line]:
    """Return a line per service class over all of its requests, from the fastest to the slowest."""
    times_us: dict[ServiceClass, list[int]] = {}
    for tally in measures.tallies.values():
        times_us.setdefault(tally.service_class, []).extend(ttfts_from_admission_us(tally.records))
    return [
        Line(
            panel="latency_distribution",
            name=str(service_class),
            times_s=tuple(each_us / US_PER_S for each_us in sorted(of_class_us)),
            values=tuple(rank / len(of_class_us) for rank in range(1, len(of_class_us) + 1)),
        )
        for service_class, of_class_us in sorted(times_us.items(), key=lambda each: each[0].rank)
    ]


def reasons_of(measures: Measures) -> dict[str, dict[str, float]]:
    """Return service class -> reason -> part of the class's attempts that were refused for it."""
    by_class: dict[ServiceClass, list[Tally]] = {}
    for tally in sorted(measures.tallies.values(), key=lambda each: each.service_class.rank):
        by_class.setdefault(tally.service_class, []).append(tally)
    return {str(kind): _reasons(tallies) for kind, tallies in by_class.items()}


def _reasons(tallies: Sequence[Tally]) -> dict[str, float]:
    attempts = sum(tally.attempts for tally in tallies)
    refused = sum((tally.refused_attempts for tally in tallies), Counter[str]())
    return {reason: count / attempts for reason, count in sorted(refused.items()) if attempts}


def _seconds(values_us: Sequence[int]) -> float | None:
    highest_us = p99(values_us)
    return None if highest_us is None else highest_us / US_PER_S


def _refusals(uid: str, samples: Sequence[Sample]) -> Line:
    """Return the part of the attempts between two points that were refused."""
    points = [samples[0]] if samples else []
    for sample in samples:
        if sample.at_us - points[-1].at_us >= SPAN_US:
            points.append(sample)
    return Line(
        panel="refusals",
        name=uid,
        times_s=tuple(sample.at_us / US_PER_S for sample in points[1:]),
        values=tuple(_refused(before, after, uid) for before, after in pairwise(points)),
    )


def _refused(before: Sample, after: Sample, uid: str) -> float | None:
    attempts = after.lines[uid].attempts - before.lines[uid].attempts
    refusals = after.lines[uid].refusals - before.lines[uid].refusals
    return refusals / attempts if attempts else None
