-- name: task_summary_delays
-- grain: one row
-- reads: tasks
-- freshness: the snapshot of the request
-- parameters: as of task_summary
-- notes: of task_summary those that Spark sorts tasks into that did not succeed
SELECT
  task_quantiles(elapsed_ms, counted, $6) AS "duration",
  task_quantiles(getting_result_time_ms, counted, $6) FILTER (WHERE has_metrics) AS "gettingResultTime",
  task_quantiles(scheduler_delay_ms, counted, $6) FILTER (WHERE has_metrics) AS "schedulerDelay"
FROM (
  SELECT *, has_metrics AND status = 'SUCCESS' AS counted
  FROM (
    SELECT
      *,
      coalesce(duration_ms, $5 - CAST(launch_time AS bigint) / 1000) AS elapsed_ms,
      finish_time IS NOT NULL AND coalesce(executor_deserialize_time_ms, 0) >= 0 AS has_metrics
    FROM tasks
    WHERE app_id = $1 AND attempt_id = $2 AND stage_id = $3 AND stage_attempt_id = $4
  )
)
