-- name: advice_skewed_stages
-- schema: advice
-- grain: one row per stage attempt whose slowest task ran much longer than the others
-- reads: rollup.stage_summary, stages, tasks
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
--   num_tasks | bigint | tasks that succeeded
--   median_duration_ms | bigint | median duration of the successful tasks
--   max_duration_ms | bigint | longest of them
--   skew | double precision | longest over median
--   excess_ms | bigint | longest less median: about how much earlier an even stage would have ended
--   slowest_task_id | bigint | the task that ran longest
--   slowest_executor_id | text | executor that it ran on
--   median_read_bytes | bigint | median of input and shuffle bytes read; 0 if the log counts neither, null if it has no metrics
--   slowest_read_bytes | bigint | input and shuffle bytes that the slowest task read; 0 if the log counts neither, null if it has no metrics
-- notes:
--   at least 4 successful tasks: a median of fewer says nothing; tasks that ended before they began (clocks differ) do not count
--   longest at least 5 times the median: what Spark calls a skewed partition (spark.sql.adaptive.skewJoin.skewedPartitionFactor)
--   excess at least 10 s: less is not worth a change; warning from 1 min, critical from 10 min, because the stage waits that long for one task
--   the slowest task read at least twice the median: the data is uneven; else the executor was slow, or the work for each byte differs
WITH candidates AS (
  SELECT
    app_id,
    attempt_id,
    stage_id,
    stage_attempt_id
  FROM rollup.stage_summary
  WHERE duration_ms_quantiles[4] > 0
    AND duration_ms_quantiles[7] >= 5 * duration_ms_quantiles[4]
    AND duration_ms_quantiles[7] - duration_ms_quantiles[4] >= 10000
),
reads AS (
  SELECT
    *,
    coalesce(input_bytes + shuffle_read_bytes, input_bytes, shuffle_read_bytes) AS read_bytes
  FROM tasks
  JOIN candidates USING (app_id, attempt_id, stage_id, stage_attempt_id)
  WHERE status = 'SUCCESS' AND duration_ms >= 0
),
spread AS (
  SELECT
    app_id,
    attempt_id,
    stage_id,
    stage_attempt_id,
    count(*) AS num_tasks,
    CAST(task_quantiles(duration_ms, true, ARRAY[0.5])[1] AS bigint) AS median_duration_ms,
    max(duration_ms) AS max_duration_ms,
    first_value(task_id ORDER BY duration_ms DESC, task_id) AS slowest_task_id,
    first_value(executor_id ORDER BY duration_ms DESC, task_id) AS slowest_executor_id,
    CAST((task_quantiles(read_bytes, true, ARRAY[0.5]) FILTER (WHERE read_bytes >= 0))[1] AS bigint) AS median_read_bytes,
    first_value(read_bytes ORDER BY duration_ms DESC, task_id) AS slowest_read_bytes
  FROM reads
  GROUP BY app_id, attempt_id, stage_id, stage_attempt_id
),
skewed AS (
  SELECT
    *,
    CAST(max_duration_ms AS double precision) / nullif(median_duration_ms, 0) AS skew,
    max_duration_ms - median_duration_ms AS excess_ms,
    coalesce(slowest_read_bytes >= 2 * median_read_bytes AND slowest_read_bytes > 0, false) AS is_data
  FROM spread
  WHERE num_tasks >= 4
    AND median_duration_ms > 0
    AND max_duration_ms >= 5 * median_duration_ms
    AND max_duration_ms - median_duration_ms >= 10000
)
SELECT
  skewed.app_id,
  skewed.attempt_id,
  skewed.stage_id,
  skewed.stage_attempt_id,
  stages.name AS stage_name,
  CASE WHEN excess_ms >= 600000 THEN 'critical' WHEN excess_ms >= 60000 THEN 'warning' ELSE 'info' END AS severity,
  'the slowest of ' || skewed.num_tasks || ' tasks ran ' || round(max_duration_ms / 1000.0, 1) || ' s, the median '
    || round(median_duration_ms / 1000.0, 1) || ' s (' || round(skew, 1) || ' times)'
    || CASE
      WHEN slowest_read_bytes + median_read_bytes > 0 THEN '; it read ' || round(slowest_read_bytes / 1048576.0, 1) || ' MiB, the median '
        || round(median_read_bytes / 1048576.0, 1) || ' MiB'
      ELSE ''
    END AS evidence,
  CASE
    WHEN is_data THEN 'spread the keys that hold most rows, or let Spark split them in joins: spark.sql.adaptive.enabled and spark.sql.adaptive.skewJoin.enabled'
    ELSE 'the data does not explain it: look at executor ' || coalesce(slowest_executor_id, 'of the task')
      || ', and let Spark start a second copy of slow tasks with spark.speculation'
  END AS recommendation,
  skewed.num_tasks,
  median_duration_ms,
  max_duration_ms,
  skew,
  excess_ms,
  slowest_task_id,
  slowest_executor_id,
  median_read_bytes,
  slowest_read_bytes
FROM skewed
JOIN stages USING (app_id, attempt_id, stage_id, stage_attempt_id)
