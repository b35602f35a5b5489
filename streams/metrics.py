"""Metrics of the streams process, all declared here.

Labels are bounded: partitions are fixed at creation, pools by their spec; never a tenant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, start_http_server

EVENTS: Final = Counter(
    "tokenpools_usage_events_total",
    "Usage events judged, by verdict; the verdicts of a partition add up to what was read.",
    ["partition", "verdict"],
)
READ: Final = Counter(
    "tokenpools_usage_read_events_total",
    "Usage events read; accepted, duplicate, late, dead and forwarded ones add up to it.",
    ["partition"],
)
DEAD: Final = Counter(
    "tokenpools_usage_dead_events_total", "Dead usage events, by reason.", ["reason"]
)
REPLAYED: Final = Counter(
    "tokenpools_usage_replayed_events_total",
    "Events read again after a restart or rebalance and skipped, being in the ledger already.",
    ["partition"],
)
LAG: Final = Gauge(
    "tokenpools_usage_lag_records",
    "Records of the partition that are stored and not yet folded, at the last poll.",
    ["partition"],
)
FOLD_SECONDS: Final = Histogram(
    "tokenpools_fold_seconds",
    "From a batch's delivery to the acknowledgement of its changelog write.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WRITES: Final = Gauge(
    "tokenpools_writes_under_way_count", "Folds whose writes are not all acknowledged yet."
)
WRITES_BYTES: Final = Gauge(
    "tokenpools_writes_under_way_bytes", "The same in bytes of changelog, before compression."
)
WATERMARK: Final = Gauge(
    "tokenpools_watermark_seconds",
    "Largest event time accepted (seconds since 1970); it never retreats.",
    ["partition"],
)
WATERMARK_LAG: Final = Gauge(
    "tokenpools_watermark_lag_seconds",
    "From the watermark to the newest stored time, at the last fold; an idle partition keeps it.",
    ["partition"],
)
MARKS: Final = Gauge(
    "tokenpools_dedupe_marks_count", "Dedupe marks held for the partition.", ["partition"]
)
FLOOR: Final = Gauge(
    "tokenpools_acceptance_floor_us",
    "Event times before this are late (microseconds since 1970); it never retreats.",
    ["partition"],
)
HORIZON_CUTS: Final = Counter(
    "tokenpools_horizon_cuts_total",
    "Times that the budget of marks made the acceptance horizon of a partition shrink.",
    ["partition"],
)
LOST: Final = Counter(
    "tokenpools_usage_lost_offsets_total",
    "Offsets of usage that retention took before the ledger had read them, at every takeover that "
    "finds them missing.",
    ["partition"],
)
TABLE_RECORDS: Final = Gauge(
    "tokenpools_table_records",
    "Changelog records held of a partition of a table, as its owner or as a standby.",
    ["table", "partition"],
)
GAPS_CLOSED: Final = Counter(
    "tokenpools_gaps_closed_total",
    "Gaps in a gateway's numbers that were closed for want of room; events below are late.",
    ["partition"],
)
OWNED: Final = Gauge("tokenpools_owned_partitions_count", "Partitions that this worker owns.")
TICK_SECONDS: Final = Histogram(
    "tokenpools_tick_seconds",
    "One tick of one pool, from reading its sources to its published state.",
    ["pool"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
TICKS: Final = Counter("tokenpools_ticks_total", "Ticks of the pool.", ["pool"])
STATES: Final = Counter(
    "tokenpools_published_state_parts_total", "Parts of admission state published.", ["pool"]
)
DEBT: Final = Gauge(
    "tokenpools_pool_debt_ppm", "Sum of the debts of the pool's entitlements, in ppm.", ["pool"]
)
CONTENDED: Final = Gauge(
    "tokenpools_pool_contended", "1 while the pool has less than is asked of it.", ["pool"]
)
ADMITTERS: Final = Gauge(
    "tokenpools_pool_admitters_count", "Admitters that are alive for the pool.", ["pool"]
)
EXCESS_SLOTS: Final = Gauge(
    "tokenpools_pool_excess_slots", "Slots held beyond capacity, at the last tick.", ["pool"]
)
BAD_REPORTS: Final = Counter(
    "tokenpools_bad_reports_total", "Admitter reports that could not be decoded."
)


OF_OWNERS: Final = (LAG, WATERMARK, WATERMARK_LAG, MARKS, FLOOR)
"""What only the owner of a partition knows."""


def forget(partition: int) -> None:
    """Say nothing more about a partition that another worker may own now."""
    for gauge in OF_OWNERS:
        gauge.remove(partition)


def serve(host: str, port: int) -> Callable[[], None]:
    """Serve ``/metrics`` from a thread of its own; return what stops it."""
    server, thread = start_http_server(port, addr=host)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=1.0)

    return stop
