"""Which settings make the engine small enough to live beside everything else on one machine?

Writes the engine's configuration files: bounded memory, small caches and pools (two cores are
shared with Kafka and the workers), and a user who may do everything but read the machine's files
or reach other hosts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the engine; ``query_mib`` is one query's share of ``server_mib``."""

    server_mib: int = 1_536
    query_mib: int = 1_024
    background_threads: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.query_mib <= self.server_mib:
            raise ValueError(
                f"query_mib ({self.query_mib}) must lie between 1 and server_mib "
                f"({self.server_mib})"
            )


_SERVER: Final = """<clickhouse>
  <max_server_memory_usage>{server_bytes}</max_server_memory_usage>
  <max_thread_pool_size>256</max_thread_pool_size>
  <max_thread_pool_free_size>8</max_thread_pool_free_size>
  <background_pool_size>{threads}</background_pool_size>
  <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
  <background_move_pool_size>1</background_move_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_schedule_pool_size>4</background_schedule_pool_size>
  <background_buffer_flush_schedule_pool_size>1</background_buffer_flush_schedule_pool_size>
  <background_message_broker_schedule_pool_size>1</background_message_broker_schedule_pool_size>
  <background_distributed_schedule_pool_size>1</background_distributed_schedule_pool_size>
  <mark_cache_size>33554432</mark_cache_size>
  <index_mark_cache_size>8388608</index_mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
  <mmap_cache_size>64</mmap_cache_size>
  <compiled_expression_cache_size>8388608</compiled_expression_cache_size>
  <access_control_improvements>
    <table_engines_require_grant>true</table_engines_require_grant>
  </access_control_improvements>
  <users_config>{users}</users_config>
  <merge_tree>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
</clickhouse>
"""

# Engines whose tables lie in the data directory or in memory, and nowhere else.
_TABLE_ENGINES: Final = (
    "MergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "VersionedCollapsingMergeTree",
    "CoalescingMergeTree",
    "Memory",
    "Null",
    "View",
    "MaterializedView",
    "Log",
    "TinyLog",
    "StripeLog",
    "Buffer",
    "Merge",
    "Set",
    "Join",
    "GenerateRandom",
)
_GRANTS: Final = (
    "GRANT ALL ON *.*",
    "REVOKE SOURCES ON *.*",
    "REVOKE CREATE DICTIONARY, BACKUP ON *.*",
    "REVOKE TABLE ENGINE ON *",
    *(f"GRANT TABLE ENGINE ON {engine}" for engine in _TABLE_ENGINES),
)

# The password is checked by the interface; the engine itself has no network.
_USERS: Final = """<clickhouse>
  <profiles><default><max_memory_usage>{query_bytes}</max_memory_usage></default></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
{grants}
      </grants>
    </default>
  </users>
</clickhouse>
"""


def write(config_dir: Path, limits: Limits) -> Path:
    """Write both files under ``config_dir`` and return the one to start the engine with."""
    config_dir.mkdir(parents=True, exist_ok=True)
    users = config_dir / "users.xml"
    users.write_text(_users(limits))
    server = config_dir / "engine.xml"
    server.write_text(
        _SERVER.format(
            server_bytes=limits.server_mib * MIB,
            threads=limits.background_threads,
            users=users.resolve(),
        )
    )
    return server.resolve()


def _users(limits: Limits) -> str:
    grants = "\n".join(f"        <query>{grant}</query>" for grant in _GRANTS)
    return _USERS.format(query_bytes=limits.query_mib * MIB, grants=grants)
