-- Rollups: absolute totals of one entitlement in one window of event time.  A later row of the same
-- window replaces an earlier one: `version` is the source position that the totals include, as one
-- number (epoch, offset, index), so repeating a row is harmless and an older one never wins.

CREATE TABLE IF NOT EXISTS rollups {{on_cluster}}
(
    pool LowCardinality(String),
    entitlement LowCardinality(String),
    tenant LowCardinality(String),
    model LowCardinality(String),
    window_us Int64,
    window_start DateTime64(6, 'UTC'),
    input_tokens Int64,
    cache_read_tokens Int64,
    cache_write_tokens Int64,
    output_tokens Int64,
    reasoning_tokens Int64,
    events Int64,
    requests Int64,
    demoted_tokens Int64,
    epoch UInt64,
    partition UInt32,
    record_offset UInt64,
    record_index UInt32,
    version UInt128
)
ENGINE = {{replacing(version)}}
-- A month of windows leaves as a whole.
PARTITION BY toYYYYMM(window_start)
-- "This pool's, or this entitlement's, minutes between two times": a contiguous range.
ORDER BY (window_us, pool, entitlement, window_start);

-- Windows that the ledger no longer keeps and asks history to count again, over the accepted rows
-- up to `version`.  An order is open until `rollups` holds its window at that version or above.
CREATE TABLE IF NOT EXISTS rollup_orders {{on_cluster}}
(
    pool LowCardinality(String),
    entitlement LowCardinality(String),
    tenant LowCardinality(String),
    model LowCardinality(String),
    window_us Int64,
    window_start DateTime64(6, 'UTC'),
    epoch UInt64,
    partition UInt32,
    record_offset UInt64,
    record_index UInt32,
    version UInt128
)
ENGINE = {{replacing(version)}}
PARTITION BY toYYYYMM(window_start)
-- "Which windows were ordered": joined with `rollups` by the same key.
ORDER BY (window_us, pool, entitlement, window_start);
