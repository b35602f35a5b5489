-- Windows of every length, each row saying through which offset it has been judged.

-- Totals of each entitlement by window of event time, as the ledger published them or as they were
-- counted again.  `record_offset` is the last event in a row; `judged_through` is how far the row's
-- partition of `usage` is judged (-1: not at all).  An event at or below it that belongs to the
-- window is in the row at the latest when the ledger publishes next: by the broker's clock after
-- 1 s for windows below a minute, 5 s for minutes, 60 s for hours.
CREATE OR REPLACE VIEW usage_windows {{on_cluster}} AS
SELECT
    totals.pool AS pool, totals.entitlement AS entitlement, totals.tenant AS tenant,
    totals.model AS model, totals.window_us AS window_us, totals.window_start AS window_start,
    totals.input_tokens AS input_tokens, totals.cache_read_tokens AS cache_read_tokens,
    totals.cache_write_tokens AS cache_write_tokens, totals.output_tokens AS output_tokens,
    totals.reasoning_tokens AS reasoning_tokens, totals.events AS events,
    totals.requests AS requests, totals.demoted_tokens AS demoted_tokens,
    totals.epoch AS epoch, totals.partition AS partition, totals.record_offset AS record_offset,
    toInt64(judgement.judged_end) - 1 AS judged_through
FROM (SELECT * FROM rollups FINAL) AS totals
LEFT JOIN
(
    SELECT epoch, partition, record_offset + 1 AS judged_end FROM judged_through FINAL
) AS judgement ON judgement.epoch = totals.epoch AND judgement.partition = totals.partition;

-- Windows below a minute (`metering.windowSeconds`: 1 s unless a pool says otherwise).
CREATE OR REPLACE VIEW usage_by_second {{on_cluster}} AS
SELECT
    pool, entitlement, tenant, model, window_start AS second,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    events, requests, demoted_tokens, epoch, partition, record_offset, judged_through, window_us
FROM usage_windows
WHERE window_us < 60000000;

-- Minutes.
CREATE OR REPLACE VIEW usage_by_minute {{on_cluster}} AS
SELECT
    pool, entitlement, tenant, model, window_start AS minute,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    events, requests, demoted_tokens, epoch, partition, record_offset, judged_through
FROM usage_windows
WHERE window_us = 60000000;

-- Hours, in UTC.
CREATE OR REPLACE VIEW usage_by_hour {{on_cluster}} AS
SELECT
    pool, entitlement, tenant, model, window_start AS hour,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    events, requests, demoted_tokens, epoch, partition, record_offset, judged_through
FROM usage_windows
WHERE window_us = 3600000000;

-- Totals of each entitlement since the oldest minute that is kept, judged through that offset of
-- the partition in which its pool stands now.
CREATE OR REPLACE VIEW usage_totals {{on_cluster}} AS
SELECT
    pool,
    entitlement,
    any(tenant) AS tenant,
    sum(input_tokens) AS input_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens,
    sum(events) AS events,
    sum(requests) AS requests,
    sum(demoted_tokens) AS demoted_tokens,
    argMax(judged_through, epoch) AS judged_through
FROM usage_by_minute
GROUP BY pool, entitlement;

-- A sliding window: of each entitlement, the windows below a minute of the last `span_us` that had
-- ended by `until_us` (rounded down to the window's length, so that only whole windows count).
-- SELECT * FROM usage_sliding(until_us = 1790000060000000, span_us = 10000000) WHERE pool = 'chat'
CREATE OR REPLACE VIEW usage_sliding {{on_cluster}} AS
SELECT
    pool,
    entitlement,
    any(tenant) AS tenant,
    sum(input_tokens) AS input_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens,
    sum(events) AS events,
    sum(requests) AS requests,
    sum(demoted_tokens) AS demoted_tokens,
    argMax(judged_through, epoch) AS judged_through
FROM usage_by_second
WHERE second < fromUnixTimestamp64Micro({until_us:Int64}, 'UTC')
    AND second >= fromUnixTimestamp64Micro({until_us:Int64} - {span_us:Int64} - 60000000, 'UTC')
    AND toUnixTimestamp64Micro(second) + window_us <= {until_us:Int64}
    AND toUnixTimestamp64Micro(second)
        >= intDiv({until_us:Int64}, window_us) * window_us - {span_us:Int64}
GROUP BY pool, entitlement;
