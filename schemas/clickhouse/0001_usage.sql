-- Usage: one row for each event that could be decoded, at its position in the topic `usage`.
-- Rows are mechanical: the same record always gives the same row, so inserting it again is
-- harmless once it is read through the view `usage_accepted`.  A malformed event has no row here;
-- its verdict and its bytes are in `verdicts`.  Whole tokens; times in UTC.

CREATE TABLE IF NOT EXISTS usage_raw {{on_cluster}}
(
    epoch UInt64,
    partition UInt32,
    record_offset UInt64,
    record_index UInt32,
    stored_at DateTime64(3, 'UTC'),
    event_at DateTime64(6, 'UTC'),
    source String,
    id String,
    sequence Nullable(Int64),
    pool LowCardinality(String),
    entitlement LowCardinality(String),
    tenant LowCardinality(String),
    model LowCardinality(String),
    reservation_id String,
    served_class LowCardinality(String),
    demoted Bool,
    input_tokens Int64,
    cache_read_tokens Int64,
    cache_write_tokens Int64,
    output_tokens Int64,
    reasoning_tokens Int64,
    started_at DateTime64(6, 'UTC'),
    requested_at DateTime64(6, 'UTC'),
    first_token_at Nullable(DateTime64(6, 'UTC')),
    final Bool,
    outcome LowCardinality(String),
    attributes Map(LowCardinality(String), String),
    forwarded_from String,
    replays String
)
ENGINE = {{replacing}}
-- Stored, not event time: it is the broker's, so a re-read record lands in the same partition and
-- can be merged with its first copy, and a month leaves as a whole when its time has passed.
PARTITION BY toYYYYMM(stored_at)
-- "What did this pool, or this entitlement, use between these hours": a contiguous range.  The
-- position ends the key: it makes a row itself, and rows of one position become one.
ORDER BY (pool, entitlement, toStartOfHour(event_at), epoch, partition, record_offset, record_index);
