"""Metrics of history: what was read, written and left out, and whether ClickHouse answers."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram, start_http_server

ROWS = Counter(
    "tokenpools_history_rows_total",
    "Rows that ClickHouse acknowledged, repeats included",
    ["table"],
)
VOID = Counter(
    "tokenpools_history_void_verdicts_total",
    "Verdicts left out because their position had been judged past: repeats, or a former owner's.",
)
MALFORMED = Counter(
    "tokenpools_history_malformed_total",
    "Records (of usage: events) that could not be read and gave no row",
    ["topic"],
)
REREADS = Counter(
    "tokenpools_history_rereads_total",
    "Batches given up because the group rebalanced; their records are read again",
)
RETRIES = Counter(
    "tokenpools_history_insert_retries_total", "Inserts that ClickHouse did not answer"
)
CLICKHOUSE_UP = Gauge("tokenpools_history_clickhouse_up", "1 while ClickHouse acknowledges inserts")
WRITE_SECONDS = Histogram(
    "tokenpools_history_write_seconds",
    "Time to write one batch, retries included",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
LAG = Gauge(
    "tokenpools_history_lag_records",
    "Records on the broker whose rows are not acknowledged, of the partitions read here",
    ["topic", "partition"],
)
OLDEST_AGE = Gauge(
    "tokenpools_history_oldest_unwritten_seconds",
    "Age by the broker's time of the oldest record that was read and is not acknowledged; 0: none",
)
HELD_BYTES = Gauge(
    "tokenpools_history_held_bytes",
    "Values of the records in the batch that is filled and in the one that is written",
)
ORDERS_WAITING = Gauge(
    "tokenpools_history_orders_waiting",
    "Windows that were ordered and wait until rows and judgement have passed their position",
)
RECOUNTED = Counter(
    "tokenpools_history_recounted_windows_total",
    "Windows that were counted again from the accepted rows, repeats included",
)
READ_OFFSET = Gauge(
    "tokenpools_history_read_offset",
    "Last offset whose rows are acknowledged",
    ["topic", "partition"],
)

DRIFT_TOKENS = Gauge(
    "tokenpools_drift_tokens",
    "Tokens by which minutes of the ledger differ from the accepted rows; 0 when all is right",
)
DRIFT_EVENTS = Gauge(
    "tokenpools_drift_events",
    "Events by which judge, ledger and rows differ; 0 when all is right",
)
DRIFT_CHECKED = Gauge(
    "tokenpools_drift_checked_timestamp_seconds", "When drift was looked for last (Unix time)"
)
DRIFT_CHECKED_OFFSET = Gauge(
    "tokenpools_drift_checked_offset",
    "Offset of usage through which judged events and rows were found equal",
    ["partition"],
)
SETTLED_NOT_EMITTED = Gauge(
    "tokenpools_settled_not_emitted_tokens",
    "Tokens that gateways settled and that are in no accepted event; the log names the gateway",
)


def observe_lag(lags: Mapping[tuple[str, int], int]) -> None:
    """Export the lag of the partitions that are read here, and of no other."""
    LAG.clear()
    for (topic, partition), records in lags.items():
        LAG.labels(topic, str(partition)).set(records)


def serve(*, host: str, port: int) -> None:
    """Serve ``/metrics`` from a thread of its own; port 0 serves nothing."""
    if port:
        start_http_server(port, addr=host)
