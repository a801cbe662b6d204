-- name: advice_idle_executors
-- schema: advice
-- grain: one row per executor that mostly waited
-- reads: executors
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   app_id | text | application id
--   attempt_id | text | attempt of the application
--   executor_id | text | executor
--   host | text | host it ran on
--   severity | text | info, warning or critical
--   evidence | text | the numbers in a sentence
--   recommendation | text | what to try
--   total_cores | integer | cores it offered
--   total_tasks | integer | task attempts that were launched on it
--   core_ms | bigint | core time it offered
--   busy_core_ms | bigint | core time of its tasks: their durations, times the cores of a task
--   idle_core_ms | bigint | the difference
--   idle_share | double precision | idle over offered
-- notes:
--   at least half of its core time idle, and at least 10 core minutes: less is the start and end of any application
--   warning from 1 idle core hour, critical from 8 (a core for a working day)
--   the driver is left out, and executors with tasks that the log does not see ending: how long those ran is not known
WITH used AS (
  SELECT
    *,
    least(core_ms, CAST(total_duration_ms * (CAST(total_cores AS double precision) / nullif(max_tasks, 0)) AS bigint)) AS busy_core_ms
  FROM executors
  WHERE executor_id <> 'driver' AND total_cores > 0 AND max_tasks > 0 AND active_tasks = 0
),
idle AS (
  SELECT
    *,
    core_ms - busy_core_ms AS idle_core_ms,
    CAST(core_ms - busy_core_ms AS double precision) / nullif(core_ms, 0) AS idle_share
  FROM used
  WHERE core_ms - busy_core_ms >= 600000 AND busy_core_ms * 2 <= core_ms
)
SELECT
  app_id,
  attempt_id,
  executor_id,
  host,
  CASE WHEN idle_core_ms >= 28800000 THEN 'critical' WHEN idle_core_ms >= 3600000 THEN 'warning' ELSE 'info' END AS severity,
  'executor ' || executor_id || ' ran ' || total_tasks || ' tasks and was idle for ' || round(idle_core_ms / 60000.0, 1) || ' of '
    || round(core_ms / 60000.0, 1) || ' core minutes (' || round(idle_share * 100, 1) || ' %)' AS evidence,
  'let idle executors go with spark.dynamicAllocation.enabled and a short spark.dynamicAllocation.executorIdleTimeout, or ask for fewer with spark.executor.instances or spark.dynamicAllocation.maxExecutors' AS recommendation,
  total_cores,
  total_tasks,
  core_ms,
  busy_core_ms,
  idle_core_ms,
  idle_share
FROM idle
