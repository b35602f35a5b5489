-- Settled: what admitters say that gateways settled, by the source that emits the usage events.
-- Totals are cumulative per incarnation of an admitter: the newest minute of each counts.  Beside
-- the emitted usage of the same source they show what was settled and never emitted.

CREATE TABLE IF NOT EXISTS settled {{on_cluster}}
(
    pool LowCardinality(String),
    entitlement LowCardinality(String),
    source String,
    incarnation LowCardinality(String),
    minute DateTime64(6, 'UTC'),
    tokens Int64,
    sequence UInt64
)
-- The last report of a minute wins, so a repeated or older one changes nothing.
ENGINE = {{replacing(sequence)}}
-- A month leaves as a whole.
PARTITION BY toYYYYMM(minute)
-- "What had this source settled by then": the newest minute of each incarnation.
ORDER BY (pool, entitlement, source, incarnation, minute);

-- How far the continuous check has compared ledger and raw rows: it goes on from here.
CREATE TABLE IF NOT EXISTS drift_checks {{on_cluster}}
(
    epoch UInt64,
    partition UInt32,
    record_offset UInt64,
    accepted_events Int64,
    refused_events Int64,
    stored_at DateTime64(6, 'UTC'),
    minutes_before DateTime64(6, 'UTC'),
    checked_at DateTime64(6, 'UTC')
)
-- The newest check of a partition wins; all that it says was found right.
ENGINE = {{replacing(checked_at)}}
-- "Where did the check of this partition end": one row for each.
ORDER BY (epoch, partition);

-- "What was stored since the last check": granules of other times are skipped.  It serves rows that
-- are stored from now on; older ones are checked once.
ALTER TABLE usage_raw {{on_cluster}}
    ADD INDEX IF NOT EXISTS by_stored_at stored_at TYPE minmax GRANULARITY 1;
