-- Scale decisions: every evaluation of the autoscaler, with the window that it looked at.

CREATE TABLE IF NOT EXISTS scale_decisions {{on_cluster}}
(
    id String,
    pool LowCardinality(String),
    at DateTime64(6, 'UTC'),
    direction LowCardinality(String),
    current Int64,
    ready Int64,
    starting Int64,
    desired Int64,
    raw_desired Int64,
    reason String,
    dimension LowCardinality(String),
    demand_tokens_per_s Int64,
    demand_kv_bytes Int64,
    demand_slots Int64,
    floors_tokens_per_s Int64,
    floors_kv_bytes Int64,
    floors_slots Int64,
    per_replica_tokens_per_s Int64,
    per_replica_kv_bytes Int64,
    per_replica_slots Int64,
    source LowCardinality(String),
    window_start DateTime64(6, 'UTC'),
    window_end DateTime64(6, 'UTC'),
    quantile_ppm Int64,
    ticks_seen Int64,
    spec_version UInt64
)
ENGINE = {{replacing}}
PARTITION BY toYYYYMM(at)
-- "Why did this pool grow at that time".
ORDER BY (pool, at, id);
