"""Estimate metrics: how good are the estimates of output, by pool and class?

``tokenpools_admission_estimate_error_output_tokens`` is a histogram of actual - estimate (below 0:
too much was estimated), and ``..._estimate_coverage_ratio`` the part of outputs that were at most
what was estimated, which the estimator steers to its target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from admission.core.estimator import ERROR_EDGES, EstimateRecord


def estimate_metrics(
    records: Iterable[tuple[str, str, Sequence[EstimateRecord]]],
) -> Iterator[Metric]:
    """Yield the metrics of (pool, class, records); pools of one label are summed."""
    sums: dict[tuple[str, str], EstimateRecord] = {}
    for pool, name, each in records:
        total = sums.setdefault((pool, name), EstimateRecord())
        for record in each:
            total.add(record)
    yield _errors(sums)
    yield _coverage(sums)


def _errors(sums: dict[tuple[str, str], EstimateRecord]) -> Metric:
    family = HistogramMetricFamily(
        "tokenpools_admission_estimate_error_output_tokens",
        "Output tokens of completed requests less what was estimated",
        labels=["pool", "class"],
    )
    for labels, record in sums.items():
        seen, buckets = 0, []
        for edge, count in zip([*ERROR_EDGES, None], record.buckets, strict=True):
            seen += count
            buckets.append(("+Inf" if edge is None else str(float(edge)), seen))
        family.add_metric(list(labels), buckets, record.under_tokens - record.over_tokens)
    return family


def _coverage(sums: dict[tuple[str, str], EstimateRecord]) -> Metric:
    family = GaugeMetricFamily(
        "tokenpools_admission_estimate_coverage_ratio",
        "Part of outputs that were at most what was estimated",
        labels=["pool", "class"],
    )
    for labels, record in sums.items():
        if record.seen:
            family.add_metric(list(labels), record.covered / record.seen)
    return family
