"""Settings of the streams process, read once from the environment.

``KAFKA_*`` and the topic and group prefixes are in ``schemas.connections``; what is here is
``TOKENPOOLS_*``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.connections import KafkaOptions, ReadText, boolean, integer, kafka_options
from schemas.errors import SettingsError
from streams.compression import COMPRESSIONS
from streams.coverage import REBUILD

STANDBY_REPLICAS_MAX: Final = 8
MIB: Final = 1_048_576


@dataclass(frozen=True)
class Settings:
    """How one streams worker runs; defaults are in the fields."""

    kafka: KafkaOptions
    metrics_port: int = 0
    """0: no metrics are served."""
    metrics_host: str = "127.0.0.1"
    marks_max: int = 1_000_000
    """Dedupe marks per partition; beyond it the acceptance horizon shrinks."""
    poll_pace_ms: int = 25
    """Pause between two polls, so that a poll brings more than a record."""
    poll_wait_ms: int = 50
    """How long the broker may wait for ``poll_bytes_min``."""
    poll_bytes_min: int = 65_536
    poll_bytes_max: int = 16 * MIB
    """Of one answer of the broker; a poll ends with the record batch by which it has so much."""
    partition_bytes_max: int = 4 * MIB
    """Of one partition in one answer of the broker, compressed."""
    queued_bytes_max: int = 64 * MIB
    """Between fetch and fold."""
    whole_batches: bool = True
    """Take record batches whole, where aiokafka makes one object after another."""
    write_compression: str = ""
    """Of everything that is written; empty: the cheapest that is installed."""
    writes_max: int = 64
    """Folds whose writes are under way; more wait before they are folded."""
    writes_bytes_max: int = 32 * MIB
    """The same in bytes of changelog, before compression."""
    commit_interval_ms: int = 1_000
    session_timeout_ms: int = 10_000
    heartbeat_ms: int = 2_000
    queued_batches_max: int = 32
    """Batches between fetch and fold, per topic."""
    standby_replicas: int = 0
    """Other workers that keep a copy of each partition's ledger; a takeover then reads less."""
    rebuild_ledger: bool = False
    """Fold ``usage`` again where the ledger has lost what was committed, if it is all there."""


def from_env(environ: Mapping[str, str], *, read_text: ReadText) -> Settings:
    """Return the settings; raise ``SettingsError`` naming the variables that contradict."""
    session_ms = integer(
        environ, "TOKENPOOLS_SESSION_TIMEOUT_MS", default=10_000, low=6_000, high=600_000
    )
    heartbeat_ms = integer(environ, "TOKENPOOLS_HEARTBEAT_MS", default=2_000, low=200, high=200_000)
    if heartbeat_ms * 3 > session_ms:
        raise SettingsError(
            f"TOKENPOOLS_HEARTBEAT_MS={heartbeat_ms} must be at most a third of "
            f"TOKENPOOLS_SESSION_TIMEOUT_MS={session_ms}"
        )
    return Settings(
        kafka=kafka_options(environ, read_text=read_text),
        metrics_port=integer(environ, "TOKENPOOLS_METRICS_PORT", default=0, low=0, high=65_535),
        metrics_host=environ.get("TOKENPOOLS_METRICS_HOST", "") or "127.0.0.1",
        marks_max=integer(
            environ, "TOKENPOOLS_MARKS_MAX", default=1_000_000, low=1_000, high=100_000_000
        ),
        poll_bytes_max=integer(
            environ, "TOKENPOOLS_POLL_BYTES_MAX", default=16 * MIB, low=MIB, high=256 * MIB
        ),
        partition_bytes_max=integer(
            environ, "TOKENPOOLS_PARTITION_BYTES_MAX", default=4 * MIB, low=MIB, high=64 * MIB
        ),
        queued_bytes_max=integer(
            environ, "TOKENPOOLS_QUEUED_BYTES_MAX", default=64 * MIB, low=MIB, high=16_384 * MIB
        ),
        writes_max=integer(environ, "TOKENPOOLS_WRITES_MAX", default=64, low=1, high=10_000),
        whole_batches=boolean(environ, "TOKENPOOLS_WHOLE_BATCHES", default=True),
        write_compression=_compression(environ),
        poll_pace_ms=integer(environ, "TOKENPOOLS_POLL_PACE_MS", default=25, low=0, high=1_000),
        session_timeout_ms=session_ms,
        heartbeat_ms=heartbeat_ms,
        rebuild_ledger=boolean(environ, REBUILD, default=False),
        standby_replicas=integer(
            environ, "TOKENPOOLS_STANDBY_REPLICAS", default=0, low=0, high=STANDBY_REPLICAS_MAX
        ),
    )


def _compression(environ: Mapping[str, str]) -> str:
    name = environ.get("TOKENPOOLS_WRITE_COMPRESSION", "")
    if name and name not in COMPRESSIONS:
        raise SettingsError(
            f"TOKENPOOLS_WRITE_COMPRESSION={name!r} must be one of {', '.join(COMPRESSIONS)}"
        )
    return name
