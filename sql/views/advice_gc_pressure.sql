-- name: advice_gc_pressure
-- schema: advice
-- grain: one row per stage attempt whose tasks waited for garbage collection
-- reads: stages
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   app_id | text | application id
--   attempt_id | text | attempt of the application
--   stage_id | integer | stage
--   stage_attempt_id | integer | attempt of the stage
--   stage_name | text | call site of the stage
--   severity | text | info, warning or critical
--   evidence | text | the numbers in a sentence
--   recommendation | text | what to try
--   jvm_gc_time_ms | bigint | garbage collection while tasks ran, summed over tasks
--   executor_run_time_ms | bigint | wall time of the task bodies, summed
--   gc_share | double precision | the first over the second
--   peak_jvm_heap_memory_bytes | bigint | highest heap of an executor in the stage; null if the log does not say
-- notes:
--   at least 10 s in all: short tasks of a JVM that warms up collect garbage too
--   at least 10 % of the run time: where Spark's own page of executors turns red; warning from 20 %, critical from 50 %, where the JVM does little else
--   garbage is collected for the whole JVM, so tasks that run side by side each count it: the share is right, the sum is task time
WITH collecting AS (
  SELECT
    *,
    CAST(jvm_gc_time_ms AS double precision) / nullif(executor_run_time_ms, 0) AS gc_share
  FROM stages
  WHERE executor_run_time_ms > 0
    AND jvm_gc_time_ms >= 10000
    AND jvm_gc_time_ms * 10 >= executor_run_time_ms
)
SELECT
  app_id,
  attempt_id,
  stage_id,
  stage_attempt_id,
  name AS stage_name,
  CASE WHEN gc_share >= 0.5 THEN 'critical' WHEN gc_share >= 0.2 THEN 'warning' ELSE 'info' END AS severity,
  round(gc_share * 100, 1) || ' % of ' || round(executor_run_time_ms / 1000.0, 1) || ' s of task time were garbage collection ('
    || round(jvm_gc_time_ms / 1000.0, 1) || ' s)'
    || coalesce('; the largest heap was ' || round(nullif(peak_jvm_heap_memory_bytes, 0) / 1048576.0, 1) || ' MiB', '') AS evidence,
  'give executors more heap with spark.executor.memory or fewer tasks at a time with spark.executor.cores, and cache less or serialised' AS recommendation,
  jvm_gc_time_ms,
  executor_run_time_ms,
  gc_share,
  nullif(peak_jvm_heap_memory_bytes, 0) AS peak_jvm_heap_memory_bytes
FROM collecting
