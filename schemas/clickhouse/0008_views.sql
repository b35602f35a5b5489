-- Views: what people and other programs should query.  Names and columns only ever gain members.
-- Each is exact before merges (FINAL, or the newest row of a key by aggregation).

-- The newest version of each entitlement.
CREATE OR REPLACE VIEW entitlements_now {{on_cluster}} AS
SELECT
    pool, entitlement, tenant, service_class, model, price_list, labels,
    baseline_tokens_per_s, baseline_kv_bytes, baseline_slots, slo_ms, applied_at, spec_version
FROM entitlements
ORDER BY pool, entitlement, applied_at DESC, spec_version DESC
LIMIT 1 BY pool, entitlement;

-- How far each partition of `usage` is judged by streams and read by history (-1: not at all).
-- Every accepted event at or below `counted_through` is in `usage_accepted`.
CREATE OR REPLACE VIEW judged {{on_cluster}} AS
SELECT
    judgement.epoch AS epoch,
    judgement.partition AS partition,
    toInt64(judgement.record_offset) AS judged_through,
    toInt64(ifNull(reading.read_end, 0)) - 1 AS read_through,
    least(judged_through, read_through) AS counted_through,
    judgement.accepted_events AS accepted_events,
    judgement.duplicate_events AS duplicate_events,
    judgement.late_events AS late_events,
    judgement.dead_events AS dead_events,
    judgement.forwarded_events AS forwarded_events,
    judgement.floor_at AS floor_at
FROM (SELECT * FROM judged_through FINAL) AS judgement
LEFT JOIN
(
    SELECT epoch, partition, record_offset + 1 AS read_end
    FROM read_through FINAL
    WHERE topic = 'usage'
) AS reading ON judgement.epoch = reading.epoch AND judgement.partition = reading.partition;

-- Accepted usage: rows up to `judged_through`, less the positions that have a verdict.  This is the
-- same set of events that the ledger has counted.
CREATE OR REPLACE VIEW usage_accepted {{on_cluster}} AS
SELECT
    usage_rows.*,
    judgement.judged_through AS judged_through
FROM
(
    SELECT *
    FROM usage_raw FINAL
    WHERE (epoch, partition, record_offset, record_index) NOT IN
    (
        SELECT epoch, partition, record_offset, record_index
        FROM verdicts
        WHERE verdict != 'accepted'
    )
) AS usage_rows
INNER JOIN
(
    SELECT epoch, partition, record_offset AS judged_through
    FROM judged_through FINAL
) AS judgement ON usage_rows.epoch = judgement.epoch AND usage_rows.partition = judgement.partition
WHERE usage_rows.record_offset <= judgement.judged_through;

-- Totals of each entitlement by minute of event time, as the ledger published them.
CREATE OR REPLACE VIEW usage_by_minute {{on_cluster}} AS
SELECT
    pool, entitlement, tenant, model, window_start AS minute,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    events, requests, demoted_tokens, epoch, partition, record_offset
FROM rollups FINAL
WHERE window_us = 60000000;

-- Totals of each entitlement since the oldest minute that is kept.
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
    sum(demoted_tokens) AS demoted_tokens
FROM usage_by_minute
GROUP BY pool, entitlement;

-- Dead letters: events that count nowhere, with the bytes to look at and to replay.
CREATE OR REPLACE VIEW dead_letters {{on_cluster}} AS
SELECT
    epoch, partition, record_offset, record_index, verdict, reason, error, source, id, pool,
    entitlement, stored_at, event_at, first, replays, original, original_key, original_headers
FROM verdicts FINAL
WHERE verdict IN ('dead', 'late');

-- Refusals, one by one.  `unique`: the first refusal of a request; the others are its retries.
CREATE OR REPLACE VIEW refusals {{on_cluster}} AS
SELECT
    at, pool, entitlement, tenant, reason, dimension, occurrences, unique, request_id, tokens, kv_bytes,
    slots, retry_after_ms, shadow, incarnation, state_age_ms, id
FROM decisions FINAL
WHERE kind = 'refused';

-- Demand and what was done about it, by entitlement and tick.
CREATE OR REPLACE VIEW demand {{on_cluster}} AS
SELECT
    at, elapsed_us, pool, entitlement, tenant, service_class, status,
    demand_tokens_per_s, demand_kv_bytes, demand_slots,
    served_tokens_per_s, held_kv_bytes, held_slots,
    pending_tokens_per_s, pending_kv_bytes, pending_slots,
    floor_tokens_per_s, floor_kv_bytes, floor_slots,
    grant_tokens_per_s, grant_kv_bytes, grant_slots,
    gap_ppm, debt_ppm, burst_ppm, weight_ppm
FROM tick_entitlements FINAL;
