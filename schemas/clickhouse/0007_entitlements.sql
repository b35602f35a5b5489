-- Entitlements as they were applied: one row for each entitlement of each version of a pool.  What
-- is deleted from a pool keeps its rows: its usage must still find a tenant, a class and labels.

CREATE TABLE IF NOT EXISTS entitlements {{on_cluster}}
(
    pool LowCardinality(String),
    entitlement LowCardinality(String),
    tenant LowCardinality(String),
    service_class LowCardinality(String),
    model LowCardinality(String),
    price_list LowCardinality(String),
    labels Map(LowCardinality(String), String),
    baseline_tokens_per_s Int64,
    baseline_kv_bytes Int64,
    baseline_slots Int64,
    slo_ms Int64,
    applied_at DateTime64(3, 'UTC'),
    spec_version UInt64,
    spec_digest String
)
ENGINE = {{replacing}}
-- "Whose is this entitlement, in which class, with which labels": the newest row of each.
ORDER BY (pool, entitlement, applied_at, spec_version);
