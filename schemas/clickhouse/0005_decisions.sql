-- Decisions of the admitters: refusals, demotions, evictions and expiries one by one, the others as
-- counts per tick.  The id is unique for ever, so a repeated row is harmless.

CREATE TABLE IF NOT EXISTS decisions {{on_cluster}}
(
    id String,
    at DateTime64(6, 'UTC'),
    incarnation LowCardinality(String),
    pool LowCardinality(String),
    entitlement LowCardinality(String),
    tenant LowCardinality(String),
    kind LowCardinality(String),
    reason LowCardinality(String),
    dimension LowCardinality(String),
    served_class LowCardinality(String),
    occurrences Int64,
    unique Bool,
    request_id String,
    reservation_id String,
    tokens Int64,
    kv_bytes Int64,
    slots Int64,
    retry_after_ms Int64,
    shadow Bool,
    state_epoch Int64,
    state_generation Int64,
    state_tick Int64,
    state_age_ms Int64,
    dropped Int64
)
ENGINE = {{replacing}}
PARTITION BY toYYYYMM(at)
-- "What was this tenant refused, why, between two times", within one pool.
ORDER BY (pool, kind, entitlement, at, id);
