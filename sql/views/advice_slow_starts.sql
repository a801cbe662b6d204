-- name: advice_slow_starts
-- schema: advice
-- grain: one row per application attempt whose first task came late
-- reads: application_attempts, jobs, stages, executors
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   app_id | text | application id
--   attempt_id | text | attempt of the application
--   name | text | name of the application
--   spark_user | text | user that ran it
--   severity | text | info, warning or critical
--   evidence | text | the numbers in a sentence
--   recommendation | text | what to try
--   start_time | timestamp with time zone | when the attempt started
--   first_executor_time | timestamp with time zone | when the first executor other than the driver was added; null in local mode
--   first_job_time | timestamp with time zone | when the first job was submitted
--   first_task_time | timestamp with time zone | when the first task was launched
--   time_to_first_task_ms | bigint | from start to first task
--   time_to_first_job_ms | bigint | from start to first job: what the driver did alone
--   wait_for_executors_ms | bigint | from the first job to the first executor; 0 if that was there before, null if there is none
-- notes:
--   at least 1 min: a cluster manager that has room starts executors in less; warning from 5 min, critical from 15 min
--   an attempt without a task has no row: it may not have wanted any
WITH first_tasks AS (
  SELECT
    app_id,
    attempt_id,
    min(first_task_launched_time) AS first_task_time
  FROM stages
  GROUP BY app_id, attempt_id
),
first_jobs AS (
  SELECT
    app_id,
    attempt_id,
    min(submission_time) AS first_job_time
  FROM jobs
  GROUP BY app_id, attempt_id
),
first_executors AS (
  SELECT
    app_id,
    attempt_id,
    min(add_time) AS first_executor_time
  FROM executors
  WHERE executor_id <> 'driver'
  GROUP BY app_id, attempt_id
),
starts AS (
  SELECT
    attempts.app_id,
    attempts.attempt_id,
    name,
    spark_user,
    start_time,
    first_executor_time,
    first_job_time,
    first_task_time,
    (CAST(first_task_time AS bigint) - CAST(start_time AS bigint)) / 1000 AS time_to_first_task_ms,
    (CAST(first_job_time AS bigint) - CAST(start_time AS bigint)) / 1000 AS time_to_first_job_ms,
    CASE
      WHEN first_executor_time > first_job_time THEN (CAST(first_executor_time AS bigint) - CAST(first_job_time AS bigint)) / 1000
      WHEN first_executor_time <= first_job_time THEN 0
    END AS wait_for_executors_ms
  FROM application_attempts AS attempts
  JOIN first_tasks ON first_tasks.app_id = attempts.app_id AND first_tasks.attempt_id = attempts.attempt_id
  LEFT JOIN first_jobs ON first_jobs.app_id = attempts.app_id AND first_jobs.attempt_id = attempts.attempt_id
  LEFT JOIN first_executors ON first_executors.app_id = attempts.app_id AND first_executors.attempt_id = attempts.attempt_id
)
SELECT
  app_id,
  attempt_id,
  name,
  spark_user,
  CASE
    WHEN time_to_first_task_ms >= 900000 THEN 'critical'
    WHEN time_to_first_task_ms >= 300000 THEN 'warning'
    ELSE 'info'
  END AS severity,
  'the first task came ' || round(time_to_first_task_ms / 1000.0, 1) || ' s after the start'
    || coalesce(', the first job ' || round(time_to_first_job_ms / 1000.0, 1) || ' s after it', '')
    || coalesce('; the job waited ' || round(wait_for_executors_ms / 1000.0, 1) || ' s for an executor', '') AS evidence,
  CASE
    WHEN time_to_first_job_ms * 2 >= time_to_first_task_ms
      THEN 'the driver worked alone before its first job: look at what it lists, downloads or plans, and do not hold executors meanwhile (spark.dynamicAllocation.enabled with spark.dynamicAllocation.initialExecutors=0)'
    WHEN wait_for_executors_ms * 2 >= time_to_first_task_ms
      THEN 'the job waited for executors: look at the queue''s room, ask for smaller ones with spark.executor.memory and spark.executor.cores, and for enough of them at once with spark.dynamicAllocation.initialExecutors'
    ELSE 'tasks waited although executors came: spark.scheduler.minRegisteredResourcesRatio and spark.scheduler.maxRegisteredResourcesWaitingTime say how many have to be there first'
  END AS recommendation,
  start_time,
  first_executor_time,
  first_job_time,
  first_task_time,
  time_to_first_task_ms,
  time_to_first_job_ms,
  wait_for_executors_ms
FROM starts
WHERE time_to_first_task_ms >= 60000
