"""Settings of history, read once in its entry point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.connections import (
    ClickHouseOptions,
    KafkaOptions,
    ReadText,
    boolean,
    clickhouse_options,
    integer,
    kafka_options,
)
from streams.history.migrate import Retention

MONTHS_MAX: Final = 600
"""A retention beyond the end of ClickHouse's DateTime (2106) would wrap and delete everything."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How history reads, writes and waits.  At most two batches are in memory at once."""

    kafka: KafkaOptions
    clickhouse: ClickHouseOptions
    retention: Retention = field(default_factory=Retention)
    batch_rows_max: int = 50_000
    batch_bytes_max: int = 32 << 20
    """Values of records that one batch may hold before it is written."""
    flush_ms: int = 500
    """A row waits at most this long for others."""
    backoff_ms_min: int = 200
    backoff_ms_max: int = 5_000
    """Pauses between tries while ClickHouse is away; they double up to the second."""
    drain_ms: int = 8_000
    """How long the end may take to write what was read already."""
    session_timeout_ms: int = 10_000
    """Another process takes the partitions over when this one was silent for so long."""
    drift_check_s: int = 30
    """How often ledger and rows are compared; 0: never."""
    poll_interval_ms_max: int = 300_000
    """The group gives up a member that takes no record for so long; while a write lasts it is told
    ten times as often that this one lives."""
    whole_batches: bool = True
    """Take whole record batches where this aiokafka was tested for it."""
    metrics_port: int = 0
    """0: no metrics are served."""
    metrics_host: str = "127.0.0.1"

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, read_text: ReadText) -> Settings:
        """Return the settings; raise ``SettingsError`` naming the variable that is wrong."""

        def number(name: str, default: int, low: int, high: int) -> int:
            return integer(environ, f"TOKENPOOLS_{name}", default=default, low=low, high=high)

        return cls(
            kafka=kafka_options(environ, read_text=read_text),
            clickhouse=clickhouse_options(environ, read_text=read_text),
            retention=retention_from_env(environ),
            batch_rows_max=number("HISTORY_BATCH_ROWS_MAX", 50_000, 1, 1_000_000),
            batch_bytes_max=number("HISTORY_BATCH_BYTES_MAX", 32 << 20, 1_024, 1 << 30),
            flush_ms=number("HISTORY_FLUSH_MS", 500, 10, 60_000),
            session_timeout_ms=number("SESSION_TIMEOUT_MS", 10_000, 3_000, 600_000),
            drift_check_s=number("DRIFT_CHECK_SECONDS", 30, 0, 86_400),
            whole_batches=boolean(environ, "TOKENPOOLS_WHOLE_BATCHES", default=True),
            metrics_port=number("METRICS_PORT", 0, 0, 65_535),
            metrics_host=environ.get("TOKENPOOLS_METRICS_HOST", "") or "127.0.0.1",
        )


def retention_from_env(environ: Mapping[str, str]) -> Retention:
    """Return how long ClickHouse keeps what (also for ``tokenpools migrate``)."""
    return Retention(
        raw_months=integer(
            environ, "TOKENPOOLS_RETENTION_RAW_MONTHS", default=13, low=1, high=MONTHS_MAX
        ),
        rollup_months=integer(
            environ, "TOKENPOOLS_RETENTION_ROLLUP_MONTHS", default=60, low=1, high=MONTHS_MAX
        ),
        seconds_days=integer(
            environ, "TOKENPOOLS_RETENTION_SECONDS_DAYS", default=35, low=1, high=3_660
        ),
    )
