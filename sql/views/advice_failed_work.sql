-- name: advice_failed_work
-- schema: advice
-- grain: one row per stage attempt that failed, had failed tasks, or repeats one that was lost
-- reads: rollup.stage_summary, stages, tasks
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   app_id | text | application id
--   attempt_id | text | attempt of the application
--   stage_id | integer | stage
--   stage_attempt_id | integer | attempt of the stage; from 1 on it is a retry
--   stage_name | text | call site of the stage
--   severity | text | info, warning or critical
--   evidence | text | the numbers in a sentence
--   recommendation | text | what to try
--   status | text | how the stage attempt ended
--   num_task_attempts | bigint | task attempts that were launched
--   num_failed_tasks | bigint | task attempts that failed
--   num_killed_tasks | bigint | task attempts that were killed
--   num_retried_tasks | bigint | task attempts that are not the first of their task
--   failed_task_ms | bigint | duration of the failed task attempts
--   killed_task_ms | bigint | duration of the killed ones
--   repeated_task_ms | bigint | duration of the successful ones in a retry of the stage, which do again what was lost
--   wasted_task_ms | bigint | the sum of these
--   first_error | text | why the stage failed, else the first failed task attempt
-- notes:
--   any failure is a row; what it cost says how bad it is
--   warning when the stage failed or is a retry, or from 1 min of task time wasted
--   critical from 1 h of task time wasted
WITH candidates AS (
  SELECT
    stages.app_id,
    stages.attempt_id,
    stages.stage_id,
    stages.stage_attempt_id
  FROM stages
  LEFT JOIN rollup.stage_summary AS summary USING (app_id, attempt_id, stage_id, stage_attempt_id)
  WHERE stages.status = 'FAILED' OR stages.stage_attempt_id > 0 OR summary.num_failed_tasks > 0
),
attempts AS (
  SELECT
    app_id,
    attempt_id,
    stage_id,
    stage_attempt_id,
    count(*) AS num_task_attempts,
    count(*) FILTER (WHERE status = 'FAILED') AS num_failed_tasks,
    count(*) FILTER (WHERE status = 'KILLED') AS num_killed_tasks,
    count(*) FILTER (WHERE task_attempt > 0) AS num_retried_tasks,
    coalesce(sum(duration_ms) FILTER (WHERE status = 'FAILED'), 0) AS failed_task_ms,
    coalesce(sum(duration_ms) FILTER (WHERE status = 'KILLED'), 0) AS killed_task_ms,
    coalesce(sum(duration_ms) FILTER (WHERE status = 'SUCCESS' AND stage_attempt_id > 0), 0) AS repeated_task_ms,
    first_value(error_message ORDER BY finish_time, task_id) FILTER (WHERE status = 'FAILED') AS error_message
  FROM tasks
  JOIN candidates USING (app_id, attempt_id, stage_id, stage_attempt_id)
  GROUP BY app_id, attempt_id, stage_id, stage_attempt_id
),
failed AS (
  SELECT
    stages.app_id,
    stages.attempt_id,
    stages.stage_id,
    stages.stage_attempt_id,
    stages.name AS stage_name,
    stages.status,
    coalesce(num_task_attempts, 0) AS num_task_attempts,
    coalesce(attempts.num_failed_tasks, 0) AS num_failed_tasks,
    coalesce(attempts.num_killed_tasks, 0) AS num_killed_tasks,
    coalesce(num_retried_tasks, 0) AS num_retried_tasks,
    coalesce(failed_task_ms, 0) AS failed_task_ms,
    coalesce(killed_task_ms, 0) AS killed_task_ms,
    coalesce(repeated_task_ms, 0) AS repeated_task_ms,
    coalesce(failed_task_ms + killed_task_ms + repeated_task_ms, 0) AS wasted_task_ms,
    coalesce(stages.failure_reason, error_message) AS first_error
  FROM stages
  LEFT JOIN attempts USING (app_id, attempt_id, stage_id, stage_attempt_id)
  WHERE stages.status = 'FAILED' OR stages.stage_attempt_id > 0 OR attempts.num_failed_tasks > 0
)
SELECT
  app_id,
  attempt_id,
  stage_id,
  stage_attempt_id,
  stage_name,
  CASE
    WHEN wasted_task_ms >= 3600000 THEN 'critical'
    WHEN status = 'FAILED' OR stage_attempt_id > 0 OR wasted_task_ms >= 60000 THEN 'warning'
    ELSE 'info'
  END AS severity,
  'attempt ' || stage_attempt_id || ' of the stage is ' || status || ': of ' || num_task_attempts || ' task attempts ' || num_failed_tasks
    || ' failed and ' || num_killed_tasks || ' were killed, ' || round(wasted_task_ms / 1000.0, 1) || ' s of task time wasted'
    || coalesce('; first error: ' || left(split_part(first_error, chr(10), 1), 200), '') AS evidence,
  CASE
    WHEN first_error LIKE '%FetchFailed%' OR first_error LIKE '%MetadataFetchFailed%'
      THEN 'shuffle files were lost with their executor: keep them apart with spark.shuffle.service.enabled, or move them in time with spark.decommission.enabled and spark.storage.decommission.shuffleBlocks.enabled'
    WHEN first_error LIKE '%OutOfMemory%' OR first_error LIKE '%exceeding%memory limits%' OR first_error LIKE '%exit code 137%' OR first_error LIKE '%exited with code 137%'
      THEN 'tasks ran out of memory: raise spark.executor.memory or spark.executor.memoryOverhead, or give each task less with more spark.sql.shuffle.partitions'
    WHEN first_error LIKE '%ExecutorLostFailure%'
      THEN 'an executor was lost: read its log for why; where hosts are taken away, spark.decommission.enabled moves its blocks in time'
    WHEN first_error IS NULL
      THEN 'see the failures of the attempts before: this one repeats what they lost'
    ELSE 'read the error; if failures keep to one executor or host, spark.excludeOnFailure.enabled keeps tasks away from it'
  END AS recommendation,
  status,
  num_task_attempts,
  num_failed_tasks,
  num_killed_tasks,
  num_retried_tasks,
  failed_task_ms,
  killed_task_ms,
  repeated_task_ms,
  wasted_task_ms,
  first_error
FROM failed
