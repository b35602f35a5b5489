"""Settings of the autoscaler, read once in its entry point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.connections import (
    ClickHouseOptions,
    KafkaOptions,
    ReadText,
    clickhouse_options,
    integer,
    kafka_options,
)
from schemas.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How often the autoscaler decides, and what it may keep in memory."""

    kafka: KafkaOptions
    clickhouse: ClickHouseOptions
    interval_ms: int = 5_000
    stale_ms: int = 15_000
    """Ticks older than this say nothing about now: the pool is held, or ``ticks`` stands in."""
    ticks_max: int = 3_600
    """Ticks kept of each pool for the time that ClickHouse is away, however long the window."""
    session_timeout_ms: int = 10_000
    """Another autoscaler takes over when the active one was silent for so long."""
    metrics_port: int = 0
    """0: no metrics are served."""
    metrics_host: str = "127.0.0.1"

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, read_text: ReadText) -> Settings:
        """Return the settings; raise ``SettingsError`` naming the variables that contradict."""

        def number(name: str, default: int, low: int, high: int) -> int:
            return integer(environ, f"TOKENPOOLS_{name}", default=default, low=low, high=high)

        interval_ms = number("AUTOSCALER_INTERVAL_MS", 5_000, 100, 600_000)
        stale_ms = number("AUTOSCALER_STALE_MS", max(15_000, 2 * interval_ms), 1_000, 3_600_000)
        if stale_ms < interval_ms:
            raise SettingsError(
                f"TOKENPOOLS_AUTOSCALER_STALE_MS={stale_ms} must not be below "
                f"TOKENPOOLS_AUTOSCALER_INTERVAL_MS={interval_ms}"
            )
        return cls(
            kafka=kafka_options(environ, read_text=read_text),
            clickhouse=clickhouse_options(environ, read_text=read_text),
            interval_ms=interval_ms,
            stale_ms=stale_ms,
            ticks_max=number("AUTOSCALER_TICKS_MAX", 3_600, 10, 1_000_000),
            session_timeout_ms=number("SESSION_TIMEOUT_MS", 10_000, 3_000, 600_000),
            metrics_port=number("METRICS_PORT", 0, 0, 65_535),
            metrics_host=environ.get("TOKENPOOLS_METRICS_HOST", "") or "127.0.0.1",
        )
