-- Which of these files were applied: one row for each, and one for the retention in force.

CREATE TABLE IF NOT EXISTS schema_migrations {{on_cluster}}
(
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
-- The newest row of a name wins.
ENGINE = {{replacing(applied_at)}}
-- "What is applied": one row for each file, read at every start.
ORDER BY name;
