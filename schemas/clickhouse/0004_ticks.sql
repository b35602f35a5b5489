-- Ticks: what each allocation read and gave.  The version (epoch, generation, tick) names a tick of
-- a pool for ever, so a repeated row is harmless.  Amounts: tokens/s, bytes, sequences; debts, gaps
-- and weights in parts per million.

CREATE TABLE IF NOT EXISTS ticks {{on_cluster}}
(
    pool LowCardinality(String),
    model LowCardinality(String),
    at DateTime64(6, 'UTC'),
    epoch UInt64,
    generation UInt64,
    tick UInt64,
    elapsed_us Int64,
    spec_version UInt64,
    spec_digest String,
    capacity_writer LowCardinality(String),
    replicas_ready Int64,
    replicas_starting Int64,
    replicas_draining Int64,
    per_replica_tokens_per_s Int64,
    per_replica_kv_bytes Int64,
    per_replica_slots Int64,
    ledger_position String,
    admitters Int64,
    capacity_tokens_per_s Int64,
    capacity_kv_bytes Int64,
    capacity_slots Int64,
    common_tokens_per_s Int64,
    common_kv_bytes Int64,
    common_slots Int64,
    headroom_slots Int64,
    contended Bool,
    overshoot_bound_tokens_per_s Int64,
    overshoot_bound_kv_bytes Int64,
    overshoot_bound_slots Int64,
    held_tokens Int64,
    held_kv_bytes Int64,
    held_slots Int64,
    excess_tokens_per_s Int64,
    excess_kv_bytes Int64,
    excess_slots Int64
)
ENGINE = {{replacing}}
PARTITION BY toYYYYMM(at)
-- "The last minutes of this pool": capacity over time, and the worst excess of a run.
ORDER BY (pool, at, epoch, generation, tick);

CREATE TABLE IF NOT EXISTS tick_entitlements {{on_cluster}}
(
    pool LowCardinality(String),
    entitlement LowCardinality(String),
    tenant LowCardinality(String),
    service_class LowCardinality(String),
    status LowCardinality(String),
    at DateTime64(6, 'UTC'),
    epoch UInt64,
    generation UInt64,
    tick UInt64,
    elapsed_us Int64,
    served_tokens_per_s Int64,
    held_tokens Int64,
    held_kv_bytes Int64,
    held_slots Int64,
    pending_tokens_per_s Int64,
    pending_kv_bytes Int64,
    pending_slots Int64,
    expected_duration_ms Int64,
    demand_tokens_per_s Int64,
    demand_kv_bytes Int64,
    demand_slots Int64,
    floor_tokens_per_s Int64,
    floor_kv_bytes Int64,
    floor_slots Int64,
    grant_tokens_per_s Int64,
    grant_kv_bytes Int64,
    grant_slots Int64,
    gap_ppm Int64,
    debt_before_ppm Int64,
    burst_before_ppm Int64,
    debt_ppm Int64,
    burst_ppm Int64,
    weight_ppm Int64
)
ENGINE = {{replacing}}
PARTITION BY toYYYYMM(at)
-- "Demand of this pool in the last minute" (the autoscaler, every few seconds) and "reserved and
-- idle of this pool in this month" (chargeback): by pool and time, all entitlements together.
ORDER BY (pool, at, entitlement, epoch, generation, tick);
