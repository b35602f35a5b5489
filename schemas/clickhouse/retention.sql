-- Retention: applied at start, and again whenever a setting changes its text.

-- Usage: TOKENPOOLS_RETENTION_RAW_MONTHS after it was stored.
ALTER TABLE usage_raw {{on_cluster}}
    MODIFY TTL toDateTime(stored_at) + toIntervalMonth({{raw_months}});

-- Verdicts outlive the events that they leave out, or those would count in their last weeks.
ALTER TABLE verdicts {{on_cluster}}
    MODIFY TTL toDateTime(stored_at) + toIntervalMonth({{raw_months}} + 2);

-- Rollups: TOKENPOOLS_RETENTION_ROLLUP_MONTHS; windows below a minute leave earlier.
ALTER TABLE rollups {{on_cluster}}
    MODIFY TTL toDateTime(window_start) + toIntervalMonth({{rollup_months}}),
        toDateTime(window_start) + toIntervalDay({{seconds_days}}) DELETE WHERE window_us < 60000000;

-- An order leaves no later than its window, or it would be open again.
ALTER TABLE rollup_orders {{on_cluster}}
    MODIFY TTL toDateTime(window_start) + toIntervalMonth(least({{raw_months}}, {{rollup_months}})),
        toDateTime(window_start) + toIntervalDay({{seconds_days}}) DELETE WHERE window_us < 60000000;

-- Ticks: chargeback reads from them what was reserved and idle, for as long as it reads usage.
ALTER TABLE ticks {{on_cluster}}
    MODIFY TTL toDateTime(at) + toIntervalMonth({{raw_months}});

ALTER TABLE tick_entitlements {{on_cluster}}
    MODIFY TTL toDateTime(at) + toIntervalMonth({{raw_months}});

ALTER TABLE decisions {{on_cluster}}
    MODIFY TTL toDateTime(at) + toIntervalMonth({{raw_months}});

-- As long as the usage that it is compared with.
ALTER TABLE settled {{on_cluster}}
    MODIFY TTL toDateTime(minute) + toIntervalMonth({{raw_months}});

ALTER TABLE scale_decisions {{on_cluster}}
    MODIFY TTL toDateTime(at) + toIntervalMonth({{raw_months}});
