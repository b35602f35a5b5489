"""Metrics: every Prometheus metric of the admission process, read from the gate when scraped.

Labels are pool, class, reason and dimension; never tenant or entitlement.  Pools beyond
``POOL_LABELS_MAX`` share the label ``other``, so the number of series is bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from admission.admitter import Admitter
from admission.core.account import Account, Counters
from admission.core.estimator import ERROR_EDGES, EstimateRecord
from admission.core.pool import PoolDesk
from schemas.units import MS_PER_S

POOL_LABELS_MAX: Final = 200
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

COUNTERS: Final = {
    "admitted": "Requests admitted, demoted ones included",
    "demoted": "Requests admitted as spot",
    "settled": "Reservations settled",
    "released": "Reservations released",
    "expired": "Reservations that nobody renewed",
    "evicted": "Reservations told to stop",
    "adopted": "Reservations taken over from dead admitters",
    "late_settled": "Reservations settled after they had expired",
    "shadow_demoted": "Requests that would have been demoted, but for shadow mode",
    "shadow_evicted": "Reservations that would have been told to stop, but for shadow mode",
}
TOKEN_COUNTERS: Final = {
    "reserved_tokens": "Tokens reserved (estimates, weighted)",
    "charged_tokens": "Tokens charged at settlement (weighted)",
    "estimate_error_tokens": "Sum of |estimate - actual| over settled reservations",
}


class GateCollector(Collector):
    """Reads the gate once per scrape; nothing is counted twice on the way of a request."""

    def __init__(self, admitter: Admitter) -> None:
        self._admitter = admitter

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        desks = list(self._labelled())
        for name, text in COUNTERS.items():
            yield _by_class(f"tokenpools_admission_{name}_requests", text, name, desks)
        for name, text in TOKEN_COUNTERS.items():
            yield _by_class(f"tokenpools_admission_{name}", text, name, desks)
        yield _by_reason(
            "tokenpools_admission_refused_requests",
            "Requests refused, retries included",
            desks,
            lambda counters: counters.attempts,
        )
        yield _by_reason(
            "tokenpools_admission_shadow_refused_requests",
            "Requests that would have been refused, but for shadow mode",
            desks,
            lambda counters: counters.shadow_refused,
        )
        yield from _estimates(
            (pool, name, [each.estimates for each in accounts])
            for pool, desk in desks
            for name, accounts in _classes(desk)
        )
        yield from self._gauges(desks)
        yield from self._process()

    def _labelled(self) -> Iterator[tuple[str, PoolDesk]]:
        for index, (name, desk) in enumerate(sorted(self._admitter.gate.desks.items())):
            yield (name if index < POOL_LABELS_MAX else "other"), desk

    def _gauges(self, desks: list[tuple[str, PoolDesk]]) -> Iterator[Metric]:
        now_us = self._admitter.clock().mono_us
        age = GaugeMetricFamily(
            "tokenpools_admission_state_age_seconds",
            "Age of the pool's state (by our own reports that it echoes)",
            labels=["pool"],
        )
        held = GaugeMetricFamily(
            "tokenpools_admission_held_slots", "Slots held", labels=["pool", "class"]
        )
        kv = GaugeMetricFamily(
            "tokenpools_admission_held_kv_bytes", "KV cache held", labels=["pool", "class"]
        )
        level = GaugeMetricFamily(
            "tokenpools_admission_bucket_level_tokens",
            "Tokens charged and not yet drained, own buckets",
            labels=["pool", "class"],
        )
        for pool, desk in desks:
            age.add_metric([pool], desk.age_ms(now_us) / MS_PER_S)
            for name, accounts in _classes(desk):
                held.add_metric([pool, name], sum(each.held.slots for each in accounts))
                kv.add_metric([pool, name], sum(each.held.kv_bytes for each in accounts))
                level.add_metric(
                    [pool, name], sum(each.share.level_tokens(now_us) for each in accounts)
                )
        yield from (age, held, kv, level)

    def _process(self) -> Iterator[Metric]:
        admitter = self._admitter
        yield GaugeMetricFamily(
            "tokenpools_admission_open_reservations",
            "Open reservations",
            value=len(admitter.gate.reservations),
        )
        yield CounterMetricFamily(
            "tokenpools_admission_decisions_dropped",
            "Decisions that the bounded queue had to drop",
            value=admitter.gate.journal.dropped,
        )
        yield CounterMetricFamily(
            "tokenpools_admission_records_rejected",
            "Records of pools or admission-state that could not be used",
            value=admitter.rejected,
        )


def exposition_of(admitter: Admitter) -> Callable[[], bytes]:
    """Return what answers ``/metrics``: the text of the gate's metrics at that moment."""
    registry = CollectorRegistry()
    registry.register(GateCollector(admitter))
    return lambda: generate_latest(registry)


def _classes(desk: PoolDesk) -> Iterator[tuple[str, list[Account]]]:
    by_class: dict[str, list[Account]] = {}
    for account in desk.accounts.values():
        by_class.setdefault(account.spec.service_class.value, []).append(account)
    yield from sorted(by_class.items())


def _by_class(
    name: str, text: str, counter: str, desks: Iterable[tuple[str, PoolDesk]]
) -> CounterMetricFamily:
    totals: Counter[tuple[str, str]] = Counter()
    for pool, desk in desks:
        for service_class, accounts in _classes(desk):
            totals[pool, service_class] += sum(getattr(each.counters, counter) for each in accounts)
    family = CounterMetricFamily(name, text, labels=["pool", "class"])
    for labels, total in totals.items():
        family.add_metric(list(labels), total)
    return family


def _by_reason(
    name: str,
    text: str,
    desks: Iterable[tuple[str, PoolDesk]],
    reasons: Callable[[Counters], Mapping[str, int]],
) -> CounterMetricFamily:
    totals: Counter[tuple[str, str, str]] = Counter()
    for pool, desk in desks:
        for service_class, accounts in _classes(desk):
            for account in accounts:
                for reason, count in reasons(account.counters).items():
                    totals[pool, service_class, reason] += count
    family = CounterMetricFamily(name, text, labels=["pool", "class", "reason"])
    for labels, total in totals.items():
        family.add_metric(list(labels), total)
    return family


def _estimates(
    records: Iterable[tuple[str, str, Sequence[EstimateRecord]]],
) -> Iterator[Metric]:
    """Yield the metrics of (pool, class, records); pools of one label are summed."""
    sums: dict[tuple[str, str], EstimateRecord] = {}
    for pool, name, each in records:
        total = sums.setdefault((pool, name), EstimateRecord())
        for record in each:
            total.add(record)
    yield _estimate_errors(sums)
    yield _coverage(sums)


def _estimate_errors(sums: dict[tuple[str, str], EstimateRecord]) -> Metric:
    family = HistogramMetricFamily(
        "tokenpools_admission_estimate_error_output_tokens",
        "Output tokens of completed requests less what was estimated (below 0: too much was)",
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
