-- name: advice_over_provisioned_memory
-- schema: advice
-- grain: one row per application attempt and resource profile whose executors left most of their heap unused
-- reads: executors, resource_profiles
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   app_id | text | application id
--   attempt_id | text | attempt of the application
--   resource_profile_id | integer | resource profile; 0 is the default one
--   severity | text | info, warning or critical
--   evidence | text | the numbers in a sentence
--   recommendation | text | what to try
--   num_executors | bigint | executors whose heap was measured
--   executor_memory_bytes | bigint | heap that each executor asked for
--   peak_jvm_heap_memory_bytes | bigint | largest heap of any of them, garbage included
--   unused_share | double precision | part of the heap that even that executor never used
--   unused_gib_hours | double precision | unused GiB of an executor times the hours of all of them
--   suggested_memory_bytes | bigint | the peak and a quarter of it, rounded up to 512 MiB
-- notes:
--   the largest heap at most half of what was asked for: the peak counts garbage too and so overstates the need, but is sampled with the heartbeats and may miss a short one
--   at least 1 GiB hour unused; warning from 10, critical from 100, because unused memory costs only as long as it is held
--   executors without a measured heap (logs before Spark 3.0, short lives) are left out, and applications whose log has no resource profile (before 3.1)
WITH used AS (
  SELECT
    app_id,
    attempt_id,
    resource_profile_id,
    count(*) AS num_executors,
    max(peak_jvm_heap_memory_bytes) AS peak_jvm_heap_memory_bytes,
    sum(core_ms / nullif(total_cores, 0)) AS executor_ms
  FROM executors
  WHERE executor_id <> 'driver' AND total_cores > 0 AND peak_jvm_heap_memory_bytes > 0
  GROUP BY app_id, attempt_id, resource_profile_id
),
granted AS (
  SELECT
    app_id,
    attempt_id,
    resource_profile_id,
    executor_resources['memory']['amount'] * 1048576 AS executor_memory_bytes
  FROM resource_profiles
),
unused AS (
  SELECT
    used.*,
    executor_memory_bytes,
    CAST(executor_memory_bytes - peak_jvm_heap_memory_bytes AS double precision) / nullif(executor_memory_bytes, 0) AS unused_share,
    (executor_memory_bytes - peak_jvm_heap_memory_bytes) / 1073741824.0 * (executor_ms / 3600000.0) AS unused_gib_hours,
    CAST(ceil(peak_jvm_heap_memory_bytes * 1.25 / 536870912) AS bigint) * 536870912 AS suggested_memory_bytes
  FROM used
  JOIN granted USING (app_id, attempt_id, resource_profile_id)
  WHERE executor_memory_bytes > 0 AND peak_jvm_heap_memory_bytes * 2 <= executor_memory_bytes
)
SELECT
  app_id,
  attempt_id,
  resource_profile_id,
  CASE WHEN unused_gib_hours >= 100 THEN 'critical' WHEN unused_gib_hours >= 10 THEN 'warning' ELSE 'info' END AS severity,
  num_executors || ' executors asked for ' || round(executor_memory_bytes / 1048576.0, 1) || ' MiB of heap each; the largest used '
    || round(peak_jvm_heap_memory_bytes / 1048576.0, 1) || ' MiB, which leaves ' || round(unused_gib_hours, 1) || ' GiB hours unused' AS evidence,
  'lower spark.executor.memory to ' || suggested_memory_bytes / 1048576 || 'm, or run more tasks in each executor with spark.executor.cores' AS recommendation,
  num_executors,
  executor_memory_bytes,
  peak_jvm_heap_memory_bytes,
  unused_share,
  unused_gib_hours,
  suggested_memory_bytes
FROM unused
WHERE unused_gib_hours >= 1
