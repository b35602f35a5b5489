"""Metrics of the autoscaler: what it wants, what there is, and what it looks at."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, start_http_server

DESIRED = Gauge("tokenpools_replicas_desired", "Replicas that the pool should have", ["pool"])
NEEDED = Gauge(
    "tokenpools_replicas_needed", "Before stabilisation, step, cooldown and bounds", ["pool"]
)
READY = Gauge("tokenpools_replicas_ready", "Replicas that serve", ["pool"])
STARTING = Gauge("tokenpools_replicas_starting", "Replicas that are starting", ["pool"])
ACTIVE = Gauge("tokenpools_autoscaler_active", "1 in the one process that decides")
ON_TICKS = Gauge(
    "tokenpools_autoscaler_on_ticks", "1 while the topic ticks stands in for ClickHouse", ["pool"]
)
DECISIONS = Counter(
    "tokenpools_autoscaler_decisions_total", "Evaluations of pools", ["pool", "direction", "source"]
)


def serve(*, host: str, port: int) -> None:
    """Serve ``/metrics`` from a thread of its own; port 0 serves nothing."""
    if port:
        start_http_server(port, addr=host)
