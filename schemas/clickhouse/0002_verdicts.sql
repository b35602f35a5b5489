-- Verdicts: how streams judged the events, and through which offset it has judged.

CREATE TABLE IF NOT EXISTS verdicts {{on_cluster}}
(
    epoch UInt64,
    partition UInt32,
    record_offset UInt64,
    record_index UInt32,
    verdict LowCardinality(String),
    reason LowCardinality(String),
    error String,
    source String,
    id String,
    pool String,
    entitlement String,
    stored_at DateTime64(6, 'UTC'),
    event_at DateTime64(6, 'UTC'),
    first String,
    replays String,
    original Nullable(String),
    original_key Nullable(String),
    original_headers Array(Tuple(String, String))
)
ENGINE = {{replacing}}
-- The broker's timestamp of the judged record: a repeated verdict lands in the same partition.
PARTITION BY toYYYYMM(stored_at)
-- "Which positions of this partition were not accepted": read by every query of accepted usage.
ORDER BY (epoch, partition, record_offset, record_index);

CREATE TABLE IF NOT EXISTS judged_through {{on_cluster}}
(
    epoch UInt64,
    partition UInt32,
    record_offset UInt64,
    generation UInt64,
    accepted_events Int64,
    duplicate_events Int64,
    late_events Int64,
    dead_events Int64,
    forwarded_events Int64,
    floor_at DateTime64(6, 'UTC')
)
-- The highest offset of a partition wins, so a repeated or older mark changes nothing.
ENGINE = {{replacing(record_offset)}}
-- "Through which offset is this partition judged": one row for each.
ORDER BY (epoch, partition);

CREATE TABLE IF NOT EXISTS read_through {{on_cluster}}
(
    topic LowCardinality(String),
    epoch UInt64,
    partition UInt32,
    record_offset UInt64
)
-- Written after the rows of those records; the highest offset of a partition wins.
ENGINE = {{replacing(record_offset)}}
-- "Through which offset does history hold this partition": one row for each.
ORDER BY (topic, epoch, partition);
