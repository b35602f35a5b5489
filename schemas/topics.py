"""Topics: every Kafka topic that the processes share, in one table.

All are partitioned by pool with one partition count, so they are co-partitioned; the count is fixed
when the topics are created.  Provisioning reads this table; nothing else names a topic.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS


class Cleanup(StrEnum):
    """Kafka's cleanup.policy."""

    DELETE = "delete"
    COMPACT = "compact"
    COMPACT_DELETE = "compact,delete"


class Timestamps(StrEnum):
    """Kafka's message.timestamp.type."""

    LOG_APPEND = "LogAppendTime"
    CREATE = "CreateTime"


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    key: str
    cleanup: Cleanup
    retention_ms: int | None
    """None: kept for ever (compacted)."""
    timestamps: Timestamps = Timestamps.LOG_APPEND
    writer: str
    readers: tuple[str, ...]
    message: str
    record_bytes_max: int = 1_048_576
    """As it is compressed: that is what a broker counts."""


LARGE_RECORD_BYTES_MAX: Final = 8 * 1_048_576
"""For records that grow with the entitlements of a pool.  A topic's own ``max.message.bytes`` goes
before the broker's ``message.max.bytes``, whatever that is."""
LARGE_PLAIN_BYTES_MAX: Final = 64 * 1_048_576
"""Before compression: what their writers must be allowed to send."""

USAGE: Final = "usage"
VERDICTS: Final = "verdicts"
ROLLUPS: Final = "rollups"
POOLS: Final = "pools"
POOL_CAPACITY: Final = "pool-capacity"
ADMISSION_STATE: Final = "admission-state"
ADMITTER_REPORTS: Final = "admitter-reports"
TICKS: Final = "ticks"
DECISIONS: Final = "decisions"
SCALE_DECISIONS: Final = "scale-decisions"

TOPICS: Final = (
    Topic(
        name=USAGE,
        key="pool",
        cleanup=Cleanup.DELETE,
        retention_ms=7 * _DAY_MS,
        writer="gateways",
        readers=("streams", "history"),
        message="CloudEvent tokenpools.usage.v1",
    ),
    Topic(
        name=VERDICTS,
        key="partition of usage",
        cleanup=Cleanup.DELETE,
        retention_ms=7 * _DAY_MS,
        writer="streams",
        readers=("history", "streams"),
        message="Verdict | JudgedThrough",
    ),
    Topic(
        name=ROLLUPS,
        key="pool|entitlement|window_us|window_start_us[|order]",
        cleanup=Cleanup.COMPACT_DELETE,
        retention_ms=7 * _DAY_MS,
        writer="streams",
        readers=("history",),
        message="Rollup",
    ),
    Topic(
        name=POOLS,
        key="pool, or $epoch",
        cleanup=Cleanup.COMPACT,
        retention_ms=None,
        writer="tokenpools apply",
        readers=("admission", "streams", "history", "autoscaler", "console"),
        message="PoolRecord | EpochRecord",
        record_bytes_max=LARGE_RECORD_BYTES_MAX,
    ),
    Topic(
        name=POOL_CAPACITY,
        key="pool|writer",
        cleanup=Cleanup.COMPACT,
        retention_ms=None,
        writer="controller, replayer, operator, up",
        readers=("streams", "autoscaler", "console"),
        message="PoolCapacity",
    ),
    Topic(
        name=ADMISSION_STATE,
        key="pool|part",
        cleanup=Cleanup.COMPACT,
        retention_ms=None,
        writer="streams",
        readers=("admission", "console"),
        message="AdmissionState",
    ),
    Topic(
        name=ADMITTER_REPORTS,
        key="pool",
        cleanup=Cleanup.DELETE,
        retention_ms=_HOUR_MS,
        writer="admission",
        readers=("streams", "history", "console"),
        message="AdmitterReport",
        record_bytes_max=LARGE_RECORD_BYTES_MAX,
    ),
    Topic(
        name=TICKS,
        key="pool",
        cleanup=Cleanup.DELETE,
        retention_ms=7 * _DAY_MS,
        writer="streams",
        readers=("history", "autoscaler", "console"),
        message="Tick",
        record_bytes_max=LARGE_RECORD_BYTES_MAX,
    ),
    Topic(
        name=DECISIONS,
        key="pool",
        cleanup=Cleanup.DELETE,
        retention_ms=7 * _DAY_MS,
        writer="admission",
        readers=("history", "console"),
        message="Decision",
    ),
    Topic(
        name=SCALE_DECISIONS,
        key="pool",
        cleanup=Cleanup.COMPACT,
        retention_ms=None,
        writer="autoscaler",
        readers=("history", "controller", "console"),
        message="ScaleDecision",
    ),
)

CONSUMPTION_TABLE: Final = "consumption"
DEBT_TABLE: Final = "debt"
STREAMS_APP: Final = "tokenpools-streams"
"""The Faust application id (before the group prefix)."""


def changelog_topic(table: str, *, app: str = STREAMS_APP) -> str:
    """Return the name of a Faust table's changelog (before the topic prefix)."""
    return f"{app}-{table}-changelog"


CHANGELOGS: Final = tuple(
    Topic(
        name=changelog_topic(table),
        key=key,
        cleanup=Cleanup.COMPACT,
        retention_ms=None,
        timestamps=Timestamps.CREATE,
        writer="streams",
        readers=("streams", "console"),
        message=message,
        record_bytes_max=record_bytes_max,
    )
    for table, key, message, record_bytes_max in (
        (CONSUMPTION_TABLE, "entry|generation", "LedgerEntry", 1_048_576),
        (DEBT_TABLE, "pool|generation", "TickRecord", LARGE_RECORD_BYTES_MAX),
    )
)


def topic_config(topic: Topic, *, min_insync: int) -> dict[str, str]:
    """Return the broker settings that the topic must have."""
    config = {
        "cleanup.policy": topic.cleanup.value,
        "message.timestamp.type": topic.timestamps.value,
        "min.insync.replicas": str(min_insync),
        "max.message.bytes": str(topic.record_bytes_max),
    }
    if topic.retention_ms is not None:
        config["retention.ms"] = str(topic.retention_ms)
    return config
